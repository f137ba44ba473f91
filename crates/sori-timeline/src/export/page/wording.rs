//! What the page says in its own name, in English and Korean.

/// Language of the page's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wording {
    English,
    Korean,
}

/// Name, English, Korean. The names are those of the template, and of `say` in the script.
const TABLE: &[(&str, &str, &str)] = &[
    ("skip", "Skip to the transcript", "대화록으로 건너뛰기"),
    ("search", "Search the transcript", "대화록에서 찾기"),
    ("previous", "Previous match", "이전 결과"),
    ("next", "Next match", "다음 결과"),
    ("theme", "Light or dark", "밝은 화면, 어두운 화면"),
    ("help", "Keyboard shortcuts", "단축키"),
    ("close", "Close", "닫기"),
    ("player", "Player", "재생기"),
    ("play", "Play", "재생"),
    ("pause", "Pause", "일시정지"),
    ("back", "Back 5 seconds", "5초 뒤로"),
    ("forward", "Forward 5 seconds", "5초 앞으로"),
    ("speed", "Speed", "재생 속도"),
    ("volume", "Volume", "음량"),
    ("follow", "Follow", "따라가기"),
    (
        "follow_long",
        "Scroll along while playing",
        "재생에 맞춰 화면 옮기기",
    ),
    ("curves", "Curves", "곡선"),
    (
        "curves_long",
        "Pitch and loudness curves",
        "음높이와 소리 크기 곡선",
    ),
    ("zoom_in", "Zoom in", "확대"),
    ("zoom_out", "Zoom out", "축소"),
    ("pan", "Part shown", "보이는 구간"),
    ("timeline", "Timeline", "시간축"),
    (
        "missing",
        "The recording could not be opened",
        "녹음을 열 수 없습니다",
    ),
    ("speakers", "Speakers", "화자"),
    ("speaker", "Speaker", "화자"),
    ("name_of", "Name of", "이름:"),
    ("show", "Show", "보이기:"),
    ("share", "Share", "비율"),
    ("time", "Time", "시간"),
    ("rate", "Words/min", "분당 어절"),
    ("pitch", "Pitch", "음높이"),
    ("turns", "Turns", "발언"),
    ("words", "Words", "어절"),
    ("transcript", "Transcript", "대화록"),
    ("silent", "Nothing was said.", "말소리가 없습니다."),
    ("key_unsure", "uncertain word", "불확실한 말"),
    ("key_estimate", "estimated time", "추정한 시각"),
    ("key_over", "somebody else speaks too", "동시에 말함"),
    ("confidence", "Confidence", "신뢰도"),
    ("with", "with", "동시에"),
    ("loudness", "Volume", "음량"),
    ("centroid", "Spectral centroid", "스펙트럼 중심"),
    ("known", "recognised", "목소리 확인"),
    ("perhaps", "perhaps", "추정"),
    (
        "partial",
        "This document is incomplete.",
        "완성되지 않은 문서입니다.",
    ),
    ("making", "How this was made", "만든 과정"),
    ("program", "Program", "프로그램"),
    ("took", "Took", "걸린 시간"),
    ("recording", "Recording", "녹음"),
    ("models", "Models", "모델"),
    ("role", "Role", "역할"),
    ("model", "Model", "모델"),
    ("checksum", "SHA-256", "SHA-256"),
    ("stages", "Stages", "단계"),
    ("warnings", "Warnings", "주의"),
    ("withheld", "Withheld text", "뺀 말"),
    ("seconds", "s", "초"),
    ("key_play", "Play or pause", "재생, 일시정지"),
    ("key_skip", "Back or forward 5 s", "5초 뒤로, 앞으로"),
    ("key_skip_long", "Back or forward 10 s", "10초 뒤로, 앞으로"),
    ("key_word", "Word before or after", "앞 말, 다음 말"),
    ("key_turn", "Turn after or before", "다음 발언, 앞 발언"),
    ("key_speed", "Slower or faster", "느리게, 빠르게"),
    ("key_zoom", "Zoom out or in", "축소, 확대"),
    ("key_info", "About the word", "말 정보"),
];

impl Wording {
    /// Korean for a Korean document (`ko`, `ko-KR`), English for any other.
    pub fn of(language: &str) -> Self {
        match language.split('-').next() {
            Some("ko") => Self::Korean,
            _ => Self::English,
        }
    }

    /// The language as HTML names it.
    pub fn lang(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// The string of that name.
    pub fn get(self, name: &str) -> &'static str {
        let (_, english, korean) = TABLE
            .iter()
            .find(|(known, ..)| *known == name)
            .expect("each name that is asked for is in the table, as a test checks");
        match self {
            Self::English => english,
            Self::Korean => korean,
        }
    }

    /// Every name with its string, for the script.
    pub fn all(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        TABLE.iter().map(move |(name, ..)| (*name, self.get(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{SCRIPT, TEMPLATE},
        TABLE,
    };

    #[test]
    fn each_string_is_used_and_each_name_exists() {
        let sources = [
            include_str!("about.rs"),
            include_str!("cast.rs"),
            include_str!("transcript.rs"),
        ]
        .concat();
        for (at, (name, english, korean)) in TABLE.iter().enumerate() {
            let used = TEMPLATE.contains(&format!("{{{{{name}}}}}"))
                || SCRIPT.contains(&format!("say.{name}"))
                || sources.contains(&format!("\"{name}\""));
            assert!(used, "{name} is used nowhere");
            assert!(!english.is_empty() && !korean.is_empty(), "{name} is empty");
            assert!(
                !TABLE[..at].iter().any(|(other, ..)| other == name),
                "{name} stands twice"
            );
        }
        let exists = |name: &str| TABLE.iter().any(|(known, ..)| *known == name);
        for used in TEMPLATE.split("{{").skip(1) {
            let name = used.split_once("}}").unwrap().0;
            assert!(
                name.starts_with('#') || exists(name),
                "{name} does not exist"
            );
        }
        for used in SCRIPT.split("say.").skip(1) {
            let name = used
                .split(|c: char| !c.is_ascii_lowercase() && c != '_')
                .next()
                .unwrap();
            assert!(exists(name), "say.{name} does not exist");
        }
    }
}
