"""Token ids, texts and word splits of whisper.tokenizer (multilingual)."""

from whisper.tokenizer import get_tokenizer

TEXTS = [
    "", " ", "a", " a", "Hello world", " Hello, world!", "  two  spaces  ", "tab\tand\nnewline\r\n\r\n end", "   ",
    " trailing   ", "\n\n\n", " It's they're I'd we'll you've I'm don't DON'T", " naïve café résumé Ångström",
    " 12345 3.14 1,000,000 10:45 2024-01-31", " version2beta x86_64", " e-mail: a.b@example.org https://example.org/x?y=1&z=2",
    " fn main() { println!(\"{:?}\", vec![1, 2]); }", " if (a != b && c >= 0) return -1; // done",
    "\u00a0non-breaking\u00a0space\u3000wide", " $5.00 €7 £9 ₩1000 50% #1 @home", "...!!!???", " (quietly) [noise] {x} <y>",
    " “curly” ‘quotes’ — dash – en …", "안녕하세요", " 안녕하세요. 반갑습니다!", " 오늘 회의에서는 다음 분기 계획을 이야기하겠습니다.",
    " 2024년 3월 5일 오후 3시 30분", " 닭볶음탕을 먹었다", "뷁 쀍 힣 가 각", " 한국어와 English를 섞어서 말해요 OK?",
    "今日はいい天気ですね。", " 你好，世界", "ไม่เป็นไร", " Привет, мир!", " مرحبا بالعالم", " नमस्ते दुनिया", "😀", " 👍🏽 thumbs 👩‍👩‍👧‍👦 family 🇰🇷",
    " e\u0301 decomposed \u1112\u1161\u11ab", "\u200bzero\u200dwidth\ufeff", " ♪ la la ♪♪", "a" * 40, " The quick brown fox jumps over the lazy dog.",
    " 𝒜 math 𐍈 gothic", "\x00\x01 control \x7f",
]

SPLITS = [
    ("en", " It's a well-known fact: don't (ever) stop, OK? 50% of \"all\" users..."),
    ("en", "Hello world"),
    ("en", " naïve café — “curly” 😀👍🏽 done"),
    ("en", " <tag> a.b@c.de 3.14"),
    ("ko", " 오늘 회의에서는 다음 분기 계획을 이야기하겠습니다."),
    ("ko", " 닭볶음탕을 먹었다. 뷁!"),
    ("ko", " 한국어와 English를 섞어서 말해요, OK?"),
    ("ja", "今日はいい天気ですね。"),
    ("zh", " 你好，世界 hello"),
    ("th", "ไม่เป็นไร ok"),
]


def make():
    tokenizer = get_tokenizer(True)
    encode = []
    for text in TEXTS:
        ids = tokenizer.encode(text, disallowed_special=())
        encode.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
    splits = []
    for language, text in SPLITS:
        tokenizer = get_tokenizer(True, language=language)
        ids = tokenizer.encode(text)
        words, groups = tokenizer.split_to_word_tokens(ids + [tokenizer.eot])
        splits.append({"language": language, "ids": ids, "words": words[:-1], "lengths": [len(g) for g in groups[:-1]]})
        assert words[-1] == "<|endoftext|>"
    partial = tokenizer.encode("뷁😀")
    cuts = [{"ids": partial[:n], "decoded": tokenizer.decode(partial[:n])} for n in range(1, len(partial))]
    special = []
    for languages in (99, 100):
        tokenizer = get_tokenizer(True, num_languages=languages)
        names = ("eot", "sot", "translate", "transcribe", "sot_lm", "sot_prev", "no_speech", "no_timestamps", "timestamp_begin")
        ids = {name: getattr(tokenizer, name) for name in names}
        special.append({"languages": languages, **ids, "ko": tokenizer.to_language_token("ko"),
                        "non_speech": list(tokenizer.non_speech_tokens)})
    return {"encode": encode, "splits": splits, "cut_characters": cuts, "special": special}
