//! Which names are safe to become a path, and the nearest name to a mistyped one.

/// Names that Windows keeps for devices, whatever their extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// Returns whether `name` can name a model: lower-case letters, digits, `.`, `_` and `-`, 64 bytes at most, starting with a
/// letter or digit. It becomes a folder, so nothing that leaves the library or means a device passes.
pub(crate) fn is_model_name(name: &str) -> bool {
    name.len() <= 64 && !name.bytes().any(|b| b.is_ascii_uppercase()) && is_plain(name)
}

/// Returns whether `name` can name a file of a model: as [`is_model_name`], upper case allowed, 128 bytes at most, and not
/// one of the names the library uses itself.
pub(crate) fn is_file_name(name: &str) -> bool {
    name.len() <= 128
        && is_plain(name)
        && name != crate::library::MANIFEST
        && !name.ends_with(".partial")
        && !name.ends_with(".partial.json")
}

fn is_plain(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let device = DEVICES.iter().any(|d| {
        stem.strip_prefix(d)
            .is_some_and(|rest| rest.len() <= 1 && is_digits(rest))
    });
    name.bytes().all(allowed)
        && name
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
        && !name.ends_with('.')
        && !name.contains("..")
        && !device
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the name nearest to `wanted` by edits (Levenshtein 1966), if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // The table is quadratic; nobody mistypes a name this long.
    if wanted.len() > 100 {
        return None;
    }
    let wanted = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(2);
    names
        .into_iter()
        .map(|name| (edits(&wanted, &name.to_lowercase()), name))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, name)| name)
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Returns ", did you mean `x`?" for the nearest of `names`, or nothing.
pub(crate) fn suggestion<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, names)
        .map(|name| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

/// Returns whether `text` is a SHA-256 in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_become_paths() {
        for good in [
            "tiny",
            "large-v3-turbo",
            "tiny.en",
            "ggml-tiny-q5_1",
            "console",
            "7b",
        ] {
            assert!(is_model_name(good), "{good}");
        }
        let bad = [
            "", ".", "..", "a/b", "a\\b", "/etc", "c:", "-rf", ".lock", "a..b", "a.", "Tiny",
            "con", "nul.bin", "com1", "ü", "a b", "a\0",
        ];
        for bad in bad {
            assert!(!is_model_name(bad), "{bad:?}");
        }
        assert!(!is_model_name(&"a".repeat(65)));
        assert!(is_file_name("model-00001-of-00002.safetensors") && is_file_name("README.md"));
        for bad in [
            "../x",
            "sori-model.json",
            "a.partial",
            "a.partial.json",
            "LPT9.txt",
            "x/../y",
        ] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_found() {
        let names = ["tiny", "base", "large-v3", "large-v3-turbo"];
        for (wanted, expected) in [
            ("tinny", Some("tiny")),
            ("Bse", Some("base")),
            ("large_v3", Some("large-v3")),
            ("large-v3-trubo", Some("large-v3-turbo")),
            ("parakeet", None),
        ] {
            assert_eq!(nearest(wanted, names), expected, "{wanted}");
        }
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(nearest(&"x".repeat(1 << 20), names), None);
    }
}
