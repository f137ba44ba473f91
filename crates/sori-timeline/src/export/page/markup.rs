//! Text as HTML and JSON that cannot become anything else.

use std::fmt::{self, Display, Formatter, Write};

/// A text written so that HTML reads it as text, between tags and within quoted attributes.
///
/// Control characters become spaces: HTML has no way to write them.
pub(super) struct Html<'a>(pub &'a str);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A relative path as a URL: everything that a path does not write plainly is percent-encoded, so that a colon is no
/// scheme and `#` no fragment.
pub(super) fn url(path: &str) -> String {
    let mut url = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                url.push(byte.into());
            }
            _ => write!(url, "%{byte:02X}").expect("a String takes any text"),
        }
    }
    url
}

/// `m:ss`, or `h:mm:ss` from an hour on.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Html, clock, url};

    #[test]
    fn markup_becomes_text() {
        for (text, html) in [
            ("plain 소리", "plain 소리"),
            (
                "</script><img onerror='x'>",
                "&lt;/script&gt;&lt;img onerror=&#39;x&#39;&gt;",
            ),
            ("\" onload=x & \0\n", "&quot; onload=x &amp;   "),
        ] {
            assert_eq!(Html(text).to_string(), html);
        }
    }

    #[test]
    fn paths_become_urls_of_this_place() {
        for (path, expected) in [
            ("a/b-1.wav", "a/b-1.wav"),
            ("javascript:alert(1)", "javascript%3Aalert%281%29"),
            ("50% #1?.mp3", "50%25%20%231%3F.mp3"),
            ("소.wav", "%EC%86%8C.wav"),
        ] {
            assert_eq!(url(path), expected);
        }
    }

    #[test]
    fn clocks_show_hours_from_one_hour() {
        for (seconds, text) in [
            (0.0, "0:00"),
            (59.9, "0:59"),
            (3599.0, "59:59"),
            (3661.0, "1:01:01"),
            (-1.0, "0:00"),
        ] {
            assert_eq!(clock(seconds), text);
        }
    }
}
