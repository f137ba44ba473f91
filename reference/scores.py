#!/usr/bin/env python3
"""Golden files of the scores: crates/sori-timeline/tests/golden/{metrics,scores}.json.

Needs pyannote.metrics==4.2.0 and meeteval==0.4.3. `metrics.json`: 60 DER/JER cases x 6 settings in the UEM 0-60 s, 40
cpWER/tcpWER cases with a collar of 1 s. `scores.json`: DER and JER with absent and ragged UEMs; cpWER and tcpWER of longer
word streams, with overlapping utterances, several collars, and one-word utterances.
"""
import json
import random
import sys
import warnings

import meeteval
import numpy as np
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

warnings.filterwarnings("ignore")
rng = random.Random(11)
SegLST = meeteval.io.SegLST


def tracks(a):
    return [[s.start, s.end, label] for s, _, label in a.itertracks(yield_label=True)]


def counts(z):
    return dict(length=int(z.length), ins=int(z.insertions), dele=int(z.deletions), sub=int(z.substitutions))


def annotation(speakers, label):
    a = Annotation()
    for i in range(rng.randint(1, 12)):
        start = round(rng.uniform(0, 50), 3)
        a[Segment(start, round(start + rng.uniform(0.05, 8), 3)), i] = f"{label}{rng.randrange(speakers)}"
    return a


def der_case(index):
    ref, hyp = annotation(rng.randint(1, 5), "R"), annotation(rng.randint(1, 6), "h")
    spans = None
    if index % 4:
        spans = []
        for _ in range(rng.randint(1, 4)):
            start = round(rng.uniform(0, 45), 3)
            spans.append([start, round(start + rng.uniform(1, 20), 3)])
    uem = Timeline([Segment(*span) for span in spans]).support() if spans else None
    out = {}
    for collar in (0.0, 0.25, 0.5):
        for skip in (False, True):
            metric = DiarizationErrorRate(collar=collar, skip_overlap=skip)
            parts = metric(ref, hyp, uem=uem, detailed=True)
            out[f"der_{collar}_{int(skip)}"] = {name: round(value, 9) for name, value in sorted(parts.items())}
            try:
                jaccard = JaccardErrorRate(collar=collar, skip_overlap=skip)(ref, hyp, uem=uem)
                out[f"jer_{collar}_{int(skip)}"] = round(jaccard, 9)
            except ZeroDivisionError:
                pass
    return dict(ref=tracks(ref), hyp=tracks(hyp), uem=spans, out=out)


def talk(speakers, label, words, one_word):
    said, now = [], 0.0
    for _ in range(rng.randint(1, 14)):
        length = rng.uniform(0.4, 3)
        count = 1 if one_word else rng.randint(1, 7)
        said.append(dict(session_id="s", speaker=f"{label}{rng.randrange(speakers)}", start_time=round(now, 3),
                         end_time=round(now + length, 3), words=" ".join(rng.choice(words) for _ in range(count))))
        now += length * rng.uniform(0.3, 1.2)
    return said


def word_case(index):
    words = "하나 둘 다섯 여섯 a bb ccc d eeeee".split()[: rng.randint(3, 9)]
    one = index % 3 == 0
    ref, hyp = talk(rng.randint(1, 4), "A", words, one), talk(rng.randint(1, 5), "B", words, one)
    case = dict(ref=ref, hyp=hyp, cpwer=counts(meeteval.wer.cpwer(SegLST(ref), SegLST(hyp))["s"]))
    for collar in (0.25, 5):
        case[f"tcpwer_collar{collar}"] = counts(meeteval.wer.tcpwer(SegLST(ref), SegLST(hyp), collar=collar)["s"])
    return case


def metrics():
    r, cases, talks = np.random.RandomState(3), [], []

    def drawn(speakers, label):
        a = Annotation()
        for i in range(r.randint(1, 14)):
            s = round(float(r.uniform(0, 50)), 3)
            a[Segment(s, round(s + float(r.uniform(.05, 8)), 3)), i] = label + str(r.randint(speakers))
        return a

    for _ in range(60):
        ref, hyp, out = drawn(r.randint(1, 5), "R"), drawn(r.randint(1, 6), "h"), {}
        uem = Timeline([Segment(0, 60)])
        for collar in (0.0, 0.25, 0.5):
            for skip in (False, True):
                parts = DiarizationErrorRate(collar=collar, skip_overlap=skip)(ref, hyp, uem=uem, detailed=True)
                out[f"der_{collar}_{int(skip)}"] = {name: float(value) for name, value in sorted(parts.items())}
        try:
            out["jer"] = float(JaccardErrorRate()(ref, hyp, uem=uem))
        except ZeroDivisionError:
            out["jer"] = None
        cases.append(dict(ref=tracks(ref), hyp=tracks(hyp), out=out))

    words = "하나 둘 셋 넷 다섯 여섯 a b c d".split()

    def said(speakers, label):
        o, tm = [], 0.0
        for _ in range(r.randint(1, 8)):
            n, d = r.randint(1, 6), float(r.uniform(.4, 3))
            o.append(dict(session_id="s", speaker=label + str(r.randint(speakers)), start_time=round(tm, 3),
                          end_time=round(tm + d, 3), words=" ".join(r.choice(words, n))))
            tm += d * float(r.uniform(.6, 1.2))
        return o

    for _ in range(40):
        a, b = said(r.randint(1, 4), "A"), said(r.randint(1, 5), "B")
        c = meeteval.wer.cpwer(SegLST(a), SegLST(b))["s"]
        t = meeteval.wer.tcpwer(SegLST(a), SegLST(b), collar=1)["s"]
        talks.append(dict(ref=a, hyp=b, cpwer=dict(errors=int(c.errors), **counts(c)),
                          tcpwer_collar1=dict(errors=int(t.errors), **counts(t))))
    return dict(der=cases, cpwer=talks)


folder = sys.argv[1]
with open(f"{folder}/metrics.json", "w") as file:
    json.dump(metrics(), file, ensure_ascii=False, separators=(",", ":"))
with open(f"{folder}/scores.json", "w") as file:
    scores = dict(der=[der_case(i) for i in range(48)], cpwer=[word_case(i) for i in range(45)])
    json.dump(scores, file, ensure_ascii=False, separators=(",", ":"))
