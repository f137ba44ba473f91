//! Languages by code and by name, for OpenAI's verbose answers tell the name.

/// Code and English name of each language that Whisper knows (openai/whisper `tokenizer.py`, `LANGUAGES`).
const NAMES: &str = "en english,zh chinese,de german,es spanish,ru russian,ko korean,fr french,ja japanese,pt portuguese,\
tr turkish,pl polish,ca catalan,nl dutch,ar arabic,sv swedish,it italian,id indonesian,hi hindi,fi finnish,vi vietnamese,\
he hebrew,uk ukrainian,el greek,ms malay,cs czech,ro romanian,da danish,hu hungarian,ta tamil,no norwegian,th thai,ur urdu,\
hr croatian,bg bulgarian,lt lithuanian,la latin,mi maori,ml malayalam,cy welsh,sk slovak,te telugu,fa persian,lv latvian,\
bn bengali,sr serbian,az azerbaijani,sl slovenian,kn kannada,et estonian,mk macedonian,br breton,eu basque,is icelandic,\
hy armenian,ne nepali,mn mongolian,bs bosnian,kk kazakh,sq albanian,sw swahili,gl galician,mr marathi,pa punjabi,si sinhala,\
km khmer,sn shona,yo yoruba,so somali,af afrikaans,oc occitan,ka georgian,be belarusian,tg tajik,sd sindhi,gu gujarati,\
am amharic,yi yiddish,lo lao,uz uzbek,fo faroese,ht haitian creole,ps pashto,tk turkmen,nn nynorsk,mt maltese,sa sanskrit,\
lb luxembourgish,my myanmar,bo tibetan,tl tagalog,mg malagasy,as assamese,tt tatar,haw hawaiian,ln lingala,ha hausa,ba bashkir,\
jw javanese,su sundanese,yue cantonese";

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.split(',').filter_map(|pair| pair.split_once(' '))
}

/// The English name of a language in lower case; the code itself where it is not known.
pub fn name(code: &str) -> &str {
    pairs()
        .find(|(known, _)| *known == code)
        .map_or(code, |(_, name)| name)
}

/// The code of a language that is given by its code (`en`), with a region (`en-US`, BCP 47) or by its English name.
///
/// ```
/// # use sori_server::openai::language;
/// assert_eq!(language::code("EN-us"), Some("en"));
/// assert_eq!(language::code("Korean"), Some("ko"));
/// assert_eq!(language::code("klingon"), None);
/// ```
pub fn code(text: &str) -> Option<&'static str> {
    let text = text.trim().to_ascii_lowercase();
    let base = match text.split(['-', '_']).next().unwrap_or_default() {
        // ISO 639-1 has these for what Whisper calls jw and no.
        "jv" => "jw",
        "nb" => "no",
        base => base,
    };
    pairs()
        .find(|(code, name)| *code == base || *name == text)
        .map(|(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_one_to_one() {
        assert_eq!(pairs().count(), 100);
        for (known, named) in pairs() {
            assert_eq!(name(known), named);
            assert_eq!(code(known), Some(known));
            assert_eq!(code(named), Some(known));
        }
        assert_eq!((name("tlh"), code("")), ("tlh", None));
        assert_eq!(code("pt_BR"), Some("pt"));
    }
}
