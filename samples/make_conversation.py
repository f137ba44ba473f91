#!/usr/bin/env python3
"""Makes conversation.wav, .rttm and .stm: two synthetic voices (flite slt and rms) talking, with pauses and one overlap.

Needs flite 2.2. Deterministic. The text is ours; the voices come with flite (CMU, BSD-like licence).
"""
import array, os, subprocess, sys, tempfile, wave

HERE = os.path.dirname(os.path.abspath(__file__))
RATE = 16_000
# Voice, name, pause before it in seconds (negative: it begins while the other still speaks), text.
TURNS = [
    ("slt", "Anna", 0.5, "It is good to see you again."),
    ("rms", "Ben", 0.6, "The train was late this morning, so I walked."),
    ("slt", "Anna", 0.7, "The weather was very cold this winter. Can you tell me about your work?"),
    ("rms", "Ben", 0.8, "I work with a team of five people. Every day is new."),
    ("slt", "Anna", -0.3, "What do you like about it?"),
    ("rms", "Ben", 0.6, "I like to learn, and I like to help people."),
    ("slt", "Anna", 0.7, "Do you have any questions for me?"),
    ("rms", "Ben", 0.9, "Will you be here tomorrow?"),
    ("slt", "Anna", 0.5, "Thank you very much. We will call you next week."),
]


def say(voice, text):
    with tempfile.NamedTemporaryFile(suffix=".wav") as out:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", out.name], check=True)
        with wave.open(out.name) as w:
            assert w.getframerate() == RATE and w.getnchannels() == 1
            pcm = array.array("h", w.readframes(w.getnframes()))
    loud = [i for i, x in enumerate(pcm) if abs(x) > 250]
    return pcm[max(0, loud[0] - 800) : loud[-1] + 800]


def main():
    sound, at, turns = array.array("i"), 0, []
    for voice, name, pause, text in TURNS:
        pcm = say(voice, text)
        start = max(0, at + int(pause * RATE))
        at = start + len(pcm)
        sound.extend([0] * (at - len(sound)))
        for i, x in enumerate(pcm):
            sound[start + i] += x
        turns.append((name, start / RATE, at / RATE, text))
    sound.extend([0] * (RATE // 2))
    with wave.open(os.path.join(HERE, "conversation.wav"), "w") as w:
        w.setparams((1, 2, RATE, 0, "NONE", ""))
        w.writeframes(array.array("h", (max(-32768, min(32767, x)) for x in sound)).tobytes())
    with open(os.path.join(HERE, "conversation.rttm"), "w") as out:
        for name, start, end, _ in turns:
            out.write(f"SPEAKER conversation 1 {start:.3f} {end - start:.3f} <NA> <NA> {name} <NA> <NA>\n")
    with open(os.path.join(HERE, "conversation.stm"), "w") as out:
        for name, start, end, text in turns:
            out.write(f"conversation 1 {name} {start:.3f} {end:.3f} {text}\n")


if __name__ == "__main__":
    sys.exit(main())
