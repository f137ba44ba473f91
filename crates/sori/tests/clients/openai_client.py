"""Asks a server with OpenAI's official client: openai_client.py BASE_URL FILE [KEY].
With a key, another one must be refused. Ends with 1 and a message on failure."""

import sys

import openai
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionVerbose,
    Translation,
)


def check(holds, what):
    if not holds:
        sys.exit(f"openai_client: {what}")


def validated(answer, shape):
    """The client takes whatever comes; this looks whether it has the documented fields and types."""
    check(isinstance(answer, shape), f"{type(answer)} is no {shape}")
    shape.model_validate(answer.to_dict())
    return answer


def rising(times):
    return all(0 <= one <= other for one, other in zip(times, times[1:]))


def formats(ask):
    plain = validated(ask(), Transcription)
    check(plain.text.strip(), "json has no text")
    check(plain.usage.type == "duration" and plain.usage.seconds > 0, "json has no usage")
    sure = validated(ask(include=["logprobs"]), Transcription)
    check(sure.logprobs and all(one.logprob <= 0 for one in sure.logprobs), "no logprobs")

    granularities = ["word", "segment"]
    verbose = validated(ask(response_format="verbose_json", timestamp_granularities=granularities), TranscriptionVerbose)
    check(verbose.text == plain.text, "verbose_json has another text")
    check(verbose.language.isalpha() and len(verbose.language) > 3, f"language is {verbose.language!r}")
    check(verbose.words and rising([word.start for word in verbose.words]), "words are out of order")
    check(all(word.start <= word.end <= verbose.duration + 1 for word in verbose.words), "words are out of the recording")
    check(verbose.segments and [s.id for s in verbose.segments] == list(range(len(verbose.segments))), "segments are not numbered")
    check("".join(s.text for s in verbose.segments).strip() == plain.text, "segments do not add up to the text")
    alone = ask(response_format="verbose_json", timestamp_granularities=["word"])
    check(alone.words and alone.segments is None, "segments came unasked")

    srt = ask(response_format="srt")
    check(isinstance(srt, str) and srt.startswith("1\n00:") and " --> " in srt, f"no SRT: {srt!r}")
    vtt = ask(response_format="vtt")
    check(vtt.startswith("WEBVTT\n"), f"no WebVTT: {vtt!r}")
    check(ask(response_format="text").strip() == plain.text, "text is another")

    diarized = validated(ask(response_format="diarized_json", chunking_strategy="auto"), TranscriptionDiarized)
    check(diarized.segments and diarized.segments[0].id == "seg_001", "no segments with speakers")
    check(diarized.segments[0].speaker == "A", f"the first speaker is {diarized.segments[0].speaker!r}")
    check(diarized.text.startswith("A: "), f"no dialogue: {diarized.text!r}")
    speakers = sorted({segment.speaker for segment in diarized.segments})
    return plain.text, speakers


def streams(ask, text):
    for wanted in ["json", "diarized_json"]:
        events = list(ask(response_format=wanted, stream=True))
        deltas = "".join(event.delta for event in events if event.type == "transcript.text.delta")
        check(events[-1].type == "transcript.text.done", f"the stream ends with {events[-1].type}")
        check(deltas.strip() and events[-1].text, "the stream has no text")
        check(wanted != "json" or deltas == events[-1].text == text, f"streamed {deltas!r}, not {text!r}")
        segments = [event for event in events if event.type == "transcript.text.segment"]
        check(bool(segments) == (wanted == "diarized_json"), f"{len(segments)} segments in {wanted}")


def errors(client, ask):
    for wrong, param in [
        ({"response_format": "xml"}, "response_format"),
        ({"temperature": 7}, "temperature"),
        ({"language": "klingon"}, "language"),
        ({"file": ("broken.wav", b"broken: this is no recording")}, "file"),
    ]:
        try:
            ask(**wrong)
        except openai.BadRequestError as error:
            check(error.param == param, f"{wrong} is answered about {error.param!r}")
            check(error.type == "invalid_request_error", f"{wrong} is a {error.type!r}")
        else:
            sys.exit(f"openai_client: {wrong} is taken")
    try:
        client.models.retrieve("no-such-model")
    except openai.NotFoundError:
        pass
    else:
        sys.exit("openai_client: a model is shown that is not there")


def refusals(base):
    stranger = openai.OpenAI(base_url=f"{base}/v1", api_key="sk-sori-wrong", max_retries=0)
    try:
        stranger.models.list()
    except openai.AuthenticationError as error:
        check(error.code == "invalid_api_key" and "sori keys add" in error.message, f"a wrong key: {error.body}")
    else:
        sys.exit("openai_client: a wrong key is taken")


def main(base, path, key=None):
    with open(path, "rb") as file:
        recording = file.read()
    if key:
        refusals(base)

    for root in [f"{base}/v1", base]:
        client = openai.OpenAI(base_url=root, api_key=key or "sk-none", max_retries=0, timeout=600)
        ids = [model.id for model in client.models.list()]
        check(ids and client.models.retrieve(ids[0]).object == "model", "there are no models")

        def ask(**options):
            given = {"file": ("talk.wav", recording), "model": "whisper-1", "temperature": 0, **options}
            return client.audio.transcriptions.create(**given)

        if root == base:
            check(ask().text.strip(), "nothing without /v1")
            continue
        text, speakers = formats(ask)
        streams(ask, text)
        errors(client, ask)
        translated = client.audio.translations.create(file=("talk.wav", recording), model="whisper-1")
        check(validated(translated, Translation).text.strip(), "nothing is translated")
    print(f"openai_client: ok, with the speakers {' '.join(speakers)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
