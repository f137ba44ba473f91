"""Asks a server with Deepgram's official client: deepgram_client.py BASE_URL FILE [KEY]. Ends with 1 and a message on failure."""

import sys

from deepgram import DeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from deepgram.errors import BadRequestError
from deepgram.types.listen_v1response import ListenV1Response


def check(holds, what):
    if not holds:
        sys.exit(f"deepgram_client: {what}")


def main(base, path, key="none"):
    place = DeepgramClientEnvironment(base=base, production=base, agent=base, agent_rest=base)
    media = DeepgramClient(api_key=key, environment=place, timeout=600).listen.v1.media
    with open(path, "rb") as file:
        recording = file.read()

    answer = media.transcribe_file(
        request=recording,
        model="nova-3",
        diarize=True,
        punctuate=True,
        paragraphs=True,
        utterances=True,
        detect_language=True,
        keyterm=["Sori", "hello world"],
        tag=["a", "b"],
    )
    ListenV1Response.model_validate(answer.dict())
    metadata, results = answer.metadata, answer.results
    check(len(metadata.sha256) == 64 and metadata.duration > 0, "there is no metadata")
    check(all(id in metadata.model_info for id in metadata.models), "models have no info")
    check(metadata.tags == ["a", "b"], f"the tags are {metadata.tags}")
    channel = results.channels[0]
    check(channel.detected_language, "no language was detected")
    best = channel.alternatives[0]
    check(best.transcript.strip() and 0 < best.confidence <= 1, "there is no transcript")
    check(best.words and best.words[0].speaker == 0, "words have no speakers")
    check(all(word.punctuated_word for word in best.words), "words have no punctuation")
    check(best.paragraphs.paragraphs[0].sentences, "paragraphs have no sentences")
    said = sum(len(utterance.words) for utterance in results.utterances)
    check(said == len(best.words), f"utterances have {said} of {len(best.words)} words")

    plain = media.transcribe_file(request=recording).results
    check(plain.utterances is None and plain.channels[0].alternatives[0].words[0].speaker is None, "unasked things came")
    for wrong in [{"redact": "pci"}, {"language": "klingon"}]:
        try:
            media.transcribe_file(request=recording, **wrong)
        except BadRequestError as error:
            check(error.body["err_code"] and error.body["request_id"], f"{wrong}: {error.body}")
        else:
            sys.exit(f"deepgram_client: {wrong} is taken")
    print("deepgram_client: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
