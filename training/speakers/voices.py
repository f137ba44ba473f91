"""Synthetic voices: espeak-ng variants and flite's speakers saying random words. They teach the networks that such voices are
people too; each espeak variant gets its own pitch, speed and accent."""
import io
import subprocess

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt4 Alex Andy Annie Denis Gene Hugo Lee Michael Storm adam anika aunty "
    "belinda benjamin boris david edward2 grandma grandpa gustave iven2 john linda mario miguel pablo pedro quincy robert steph zac"
).split()
ACCENTS = "en en-us en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-029 ko de fr es it".split()
FLITE = ("awb", "rms", "slt", "kal16", "kal")
WORDS = (
    "about after again always answer because before better between bring brother building carry change children city clear close "
    "country could course cover cross different early earth enough evening every example family father figure finally follow "
    "friend garden general given great ground happen heavy history house hundred idea island journey kitchen language large "
    "letter listen little machine market measure minute money morning mother mountain music nature never night nothing number "
    "object ocean often open order other paper people perhaps picture place plain point power problem question quick reason "
    "remember river school science season second several short simple single small something sound special station story street "
    "strong sudden summer surface system table thought thousand together toward travel trouble under until usual valley village "
    "voice walking watch water weather window winter wonder yellow yesterday young"
).split()
KOREAN = "오늘 내일 아침 저녁 사람 친구 학교 회의 시간 날씨 바람 나라 음악 이야기 생각 마음 우리 그리고 하지만 천천히 빨리 함께 다시 조금 많이 물 길 집 산 바다".split()


def sentence(r, words):
    return " ".join(r.choice(words, r.integers(4, 11))) + ". "


def _speak(args, text):
    out = subprocess.run([*args], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    x, rate = sf.read(io.BytesIO(out), dtype="float32")
    return resample_poly(x, 16000, rate).astype(np.float32) if rate != 16000 else x


def voices(seed=7, seconds=14):
    """(name, sound) of each voice, about 14 s each and 28 s for flite's."""
    r = np.random.default_rng(seed)
    for i, v in enumerate(VARIANTS):
        accent = ACCENTS[i % len(ACCENTS)]
        text = "".join(sentence(r, KOREAN if accent == "ko" else WORDS) for _ in range(8))
        args = ["espeak-ng", "--stdout", "-v", f"{accent}+{v}", "-p", str(r.integers(25, 80)), "-s", str(r.integers(130, 190))]
        yield f"espeak-{accent}-{v}", _speak(args, text)[: seconds * 16000]
    for v in FLITE:
        text = "".join(sentence(r, WORDS) for _ in range(14))
        yield f"flite-{v}", _speak(["flite", "-voice", v, "-t", text, "-o", "/dev/stdout"], "")[: 2 * seconds * 16000]
