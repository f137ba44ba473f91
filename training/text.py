"""Sentences to be spoken: `en.tsv` and `ko.tsv` (split, source, text) under --out.

Sources, all free to use: WordNet 3.0 example sentences (Princeton WordNet licence), five Jane Austen novels without
"Sense and Sensibility" (public domain; that book is in the real-speech test), NSMC Korean movie reviews (CC0),
LibreOffice's Korean help (MPL-2.0), and the sentence patterns of this file (ours).
Every 40th sentence of each source is held out: it is never synthesised for training.
"""
import argparse, collections, csv, glob, hashlib, html, io, itertools, lzma, pathlib, random, re, subprocess

EN_PATTERNS = {
    "{who} {modal} {verb} {thing} {when}": 9000,
    "please {verb} {thing} and {verb} {thing}": 3000,
    "i am {very} {feel} with {thing}": 1500,
    "i {think} that {thing} is {very} {feel}": 3000,
    "can you tell me about {thing} {when}": 600,
    "we {think} {thing} will be {adj} {when}": 2500,
    "{thing} was {adj} but {thing} was not": 2500,
    "thank you for {thing} it was {very} {adj}": 800,
    "what do you think about {thing}": 200,
    "i agree with {thing} but i want {thing} {when}": 1500,
    "i disagree with {thing} and i need {thing}": 1500,
    "the {animal} {moved} over the {adj} {animal} {when}": 2500,
    "{who} {moved} to the {place} with the {adj} {animal}": 2500,
    "there are {number} {adj} {animal}s in the {place}": 1500,
    "it is {number} o'clock and {who} {modal} {verb} {thing}": 1500,
}
EN_WORDS = {
    "who": "i,you,we,they,he,she,the manager,my friend,the team,our teacher,the doctor,the customer,my brother,the speaker".split(","),
    "modal": "will,would,can,could,should,must,did not,does not,wants to,need to,have to,tried to,used to,plan to".split(","),
    "verb": "start,finish,record,check,send,open,close,change,discuss,review,explain,describe,cancel,repeat,improve,share,save,read,write,test,prepare,remember,follow,answer".split(","),
    "thing": ("the recording,the meeting,the interview,your last project,the next question,this decision,a refund,the report,the service,the result,our plan,"
              "the answer,the first page,my experience,the order,your account,the new design,the phone call,the delivery,the price,a full refund,the software,"
              "the problem,another copy,some more time,the whole story,your favorite book,the weather,this system,the contract,the schedule,a short break").split(","),
    "when": ",today,tomorrow,yesterday,this morning,next week,last year,on monday,in the afternoon,before lunch,after the break,right now,again,as soon as possible,at ten o'clock".split(","),
    "very": ",very,really,quite,not,too,a little,extremely".split(","),
    "feel": "happy,pleased,sorry,worried,satisfied,disappointed,interested,surprised,angry,tired,comfortable,good,bad,fine,familiar".split(","),
    "think": "think,believe,know,hope,said,heard,feel,understand,guess,agree".split(","),
    "adj": "big,small,quick,lazy,brown,black,white,red,young,old,easy,difficult,useful,important,possible,beautiful,strange,quiet,loud,clear,simple,great,perfect,long,short,late,early,warm,cold,helpful".split(","),
    "animal": "fox,dog,cat,horse,bird,bear,child,student,farmer,mouse,rabbit,lion".split(","),
    "moved": "jumped,jumps,ran,runs,walked,looked,went,goes,moved,climbed,turned,came".split(","),
    "place": "house,garden,school,river,office,city,station,kitchen,forest,market,library,hospital".split(","),
    "number": "two,three,four,five,six,seven,eight,nine,ten,eleven,twelve,twenty,thirty,forty,fifty,hundred".split(","),
}
KO_PATTERNS = {
    "{when} {thing}{을} {verb}겠습니다": 4000,
    "{when} {thing}{을} {verb}습니다": 3000,
    "{thing}{은} {when} {hour} 시에 {verb}습니다": 3500,
    "{thing}{이} {very} {feel}어요": 4000,
    "{thing}{이} {very} {feel}었습니다": 4000,
    "{very} {feel}지만 {thing}{은} {feel}었어요": 2000,
    "안녕하세요 {thing}{을} {verb}고 싶습니다": 1500,
    "안녕하세요 반갑습니다 {when} {thing}{을} {verb}겠습니다": 1000,
    "{place}에서 {thing}{을} {verb}고 {thing}{을} {verb}겠습니다": 3000,
    "{thing}{이} {feel}어서 {thing}{을} {verb}기로 했습니다": 3000,
    "다음에도 꼭 {thing}{을} {verb}고 싶어요": 800,
    "{hour} 시 {minute} 분에 {place}에서 만나요": 800,
    "{person}{은} {when} {thing}{을} {verb}지 않았습니다": 2500,
}
KO_WORDS = {
    "when": ",오늘은,내일은,어제,지금,이번 주에,다음 주에,내일 오전,오늘 오후에,잠시 후에,아침에,저녁에,올해,작년에,월요일에,금요일까지".split(","),
    "thing": ("회의,인터뷰,녹음,음성 인식,시스템,서비스,배송,상품,질문,대답,프로젝트,발표,자료,보고서,결과,계획,일정,예약,주문,환불,전화,상담,면접,시험,"
              "설명,의견,문제,가격,품질,음식,날씨,수업,영화,음악,노래,책,그림,사진,여행,운동,경험,기술,회사,직원,고객,화면,소리,이야기").split(","),
    "person": "저,우리,선생님,친구,동생,사장님,부장님,고객님,의사,학생,어머니,아버지,팀장님,면접관".split(","),
    "place": "학교,회사,집,병원,도서관,시장,공항,식당,카페,공원,사무실,회의실,은행,역".split(","),
    "verb": "시작하,확인하,시험하,준비하,설명하,이야기하,공유하,기록하,정리하,전달하,취소하,변경하,연습하,공부하,사용하,이용하,추천하,구매하,분석하,검토하,발표하,만들,보내,마치".split(","),
    "feel": "좋,늦,많,적,높,낮,짧,넓,같,재미있,맛있,멋있,괜찮,재미없".split(","),
    "very": ",정말,너무,아주,매우,조금,가장,생각보다,진짜".split(","),
    "hour": "한,두,세,네,다섯,여섯,일곱,여덟,아홉,열,열한,열두".split(","),
    "minute": "십,이십,삼십,사십,오십,십오".split(","),
}


def fill(pattern, words, rng):
    return re.sub(r"\{(\w+)\}", lambda m: rng.choice(words[m[1]]) if m[1] in words else m[0], pattern)


def korean_endings(text):
    """Joins stems, endings and particles as Korean spelling wants (하+습니다 → 합니다, 을/를, 좋+어요 → 좋아요)."""
    def final(c): return (ord(c) - 0xAC00) % 28
    for slot, (closed, open_) in {"을": "을를", "은": "은는", "이": "이가"}.items():
        text = re.sub(r"(\S)\{%s\}" % slot, lambda m: m[1] + (closed if final(m[1]) else open_), text)
    def seumnida(m):
        c = ord(m[1])
        return chr(c - 8 + 17) + "니다" if final(m[1]) == 8 else (m[1] + "습니다" if final(m[1]) else chr(c + 17) + "니다")
    text = re.sub(r"(\S)습니다", lambda m: m[0] if m[1] in "겠었" else seumnida(m), text)
    bright = lambda c: (ord(c) - 0xAC00) // 28 % 21 in (0, 8)
    text = re.sub(r"(좋|많|높|낮|짧|넓|적|늦|같|있|찮|없)(어요|어서|었)", lambda m: m[1] + ({"어요": "아요", "어서": "아서", "었": "았"}[m[2]] if bright(m[1]) else m[2]), text)
    return re.sub(" +", " ", text).strip()


def english(raw):
    text = raw.replace("’", "'").replace("_", "").replace("--", " ")
    if re.search(r"[^A-Za-z' ,.;:!?\"()-]", text): return None
    text = re.sub(r"\b(mr|mrs|st|dr)\b\.?", "", text.lower())
    text = re.sub(r"[^a-z' ]", " ", text)
    text = re.sub(r"(^|\s)'+|'+(\s|$)", " ", text)
    return re.sub(" +", " ", text).strip()


def korean(raw):
    text = re.sub(r"[.,!?~^;:\"']", " ", raw)
    text = re.sub(" +", " ", text).strip()
    return text if re.fullmatch(r"[가-힣 ]+", text) else None


def wordnet():
    for part in ("noun", "verb", "adj", "adv"):
        for line in open(f"/usr/share/wordnet/data.{part}", encoding="latin1"):
            if "|" in line: yield from re.findall(r'"([^"]+)"', line.split("|", 1)[1])


def austen():
    books = "c(prideprejudice,emma,mansfieldpark,northangerabbey,persuasion)"
    text = subprocess.run(["Rscript", "-e", f"library(janeaustenr); writeLines({books})"], capture_output=True, text=True, check=True).stdout
    for paragraph in text.split("\n\n"):
        yield from re.split(r"(?<=[.!?;:])\s+", paragraph.replace("\n", " "))


def libreoffice():
    for name in sorted(glob.glob("/usr/share/libreoffice/help/ko/text/**/*.html", recursive=True)):
        page = re.sub(r"<(script|style).*?</\1>", " ", open(name, encoding="utf8").read(), flags=re.S)
        for block in re.split(r"</?(?:p|h\d|li|td|div|br)[^>]*>", page):
            yield from re.split(r"(?<=[.!?])\s+", html.unescape(re.sub("<[^>]+>", "", block)).strip())


def nsmc(shared):
    for row in csv.reader(io.TextIOWrapper(lzma.open(shared / "media/text/nsmc_train.tsv.xz"), encoding="utf8"), delimiter="\t", quoting=csv.QUOTE_NONE):
        if len(row) == 3: yield from re.split(r"(?<=[.!?])\s*", row[1])


def patterns(table, words, finish, rng):
    for pattern, count in table.items():
        for _ in range(count): yield finish(fill(pattern, words, rng))


def collect(sources, clean, shortest, longest, rare, longest_word):
    kept = {}
    for source, lines in sources:
        for raw in lines:
            text = clean(raw)
            if text and shortest <= len(text) <= longest and " " in text and max(map(len, text.split())) <= longest_word:
                kept.setdefault(text, source)
    counts = collections.Counter(w for t in kept for w in t.split())
    return [(s, t) for t, s in kept.items() if s == "patterns" or all(counts[w] >= rare for w in t.split())]


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--shared", type=pathlib.Path, required=True)
    args.add_argument("--out", type=pathlib.Path, required=True)
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    squeeze = lambda t: re.sub(" +", " ", t).strip()
    tables = {
        "en": collect([("patterns", patterns(EN_PATTERNS, EN_WORDS, squeeze, rng)), ("wordnet", wordnet()), ("austen", austen())], english, 14, 85, 4, 14),
        "ko": collect([("patterns", patterns(KO_PATTERNS, KO_WORDS, korean_endings, rng)), ("libreoffice", libreoffice()), ("nsmc", nsmc(args.shared))], korean, 6, 42, 2, 8),
    }
    for lang, rows in tables.items():
        seen, out = collections.Counter(), []
        for source, text in sorted(rows, key=lambda r: hashlib.sha256(r[1].encode()).digest()):
            seen[source] += 1
            out.append(("heldout" if seen[source] % 40 == 0 else "train", source, text))
        with open(args.out / f"{lang}.tsv", "w", encoding="utf8") as f:
            f.writelines("\t".join(r) + "\n" for r in out)
        print(lang, len(out), dict(seen), len({w for r in out for w in r[2].split()}), "words")


if __name__ == "__main__":
    main()
