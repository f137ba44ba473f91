//! A small reader of Rust text: what is code, where tests are, how long functions are.

/// The text with every character of comments and of string and character literals as a space; line breaks stay.
pub fn code_only(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < text.len() {
        let end = literal_or_comment_end(&text, at);
        if end > at {
            code.extend(
                text[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        } else {
            code.push(text[at]);
            at += 1;
        }
    }
    code
}

/// Index behind the comment or literal that starts at `at`, or `at` when none does.
fn literal_or_comment_end(text: &[char], at: usize) -> usize {
    let next = |ahead: usize| text.get(at + ahead).copied().unwrap_or('\0');
    let after_name = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
    match next(0) {
        '/' if next(1) == '/' => find(text, at, |rest| rest[0] == '\n'),
        '/' if next(1) == '*' => block_comment_end(text, at),
        '"' => quoted_end(text, at, '"'),
        'r' | 'b' | 'c' if !after_name => {
            let mut start = at + 1;
            start += usize::from(next(0) == 'b' && next(1) == 'r');
            let raw = text[start - 1] == 'r';
            let hashes = text[start..].iter().take_while(|&&c| c == '#').count();
            match text.get(start + hashes) {
                Some('"') if raw => {
                    let close = |rest: &[char]| {
                        rest[0] == '"'
                            && rest[1..].iter().take_while(|&&c| c == '#').count() >= hashes
                    };
                    (find(text, start + hashes + 1, close) + 1 + hashes).min(text.len())
                }
                Some('"') if hashes == 0 => quoted_end(text, start, '"'),
                Some('\'') if hashes == 0 && next(0) == 'b' && !raw => {
                    quoted_end(text, start, '\'')
                }
                _ => at,
            }
        }
        // A lifetime has no closing quote right behind its first character.
        '\'' if next(1) == '\\' || next(2) == '\'' => quoted_end(text, at, '\''),
        _ => at,
    }
}

fn find(text: &[char], from: usize, holds: impl Fn(&[char]) -> bool) -> usize {
    (from..text.len())
        .find(|&at| holds(&text[at..]))
        .unwrap_or(text.len())
}

fn block_comment_end(text: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted_end(text: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// The code without what follows `#[cfg(test)]`: a module's block, or the one line of `mod tests;`. Line breaks stay.
pub fn without_tests(code: &str) -> String {
    let (mut kept, mut rest) = (String::new(), code);
    while let Some(found) = rest.find("#[cfg(test)]") {
        let (before, test) = rest.split_at(found);
        kept.push_str(before);
        let end = match test.find(['{', ';']) {
            Some(open) if test[open..].starts_with('{') => block_end(test, open),
            Some(semicolon) => semicolon + 1,
            None => test.len(),
        };
        rest = &test[end..];
    }
    kept.push_str(rest);
    kept
}

/// Index behind the brace that closes the one at `open`.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, character) in code[open..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    code.len()
}

/// Name and number of lines of each function with a body, from `fn` to its closing brace, in code without literals.
pub fn functions(code: &str) -> Vec<(String, usize)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let name: String = code[at + 3..]
            .trim_start()
            .chars()
            .take_while(|&c| is_name(c))
            .collect();
        if code[..at].ends_with(is_name) || name.is_empty() {
            continue;
        }
        // The body is the first brace outside of the brackets of the signature; a semicolon there means none.
        let mut depth = 0;
        let body = code[at..].char_indices().find(|(_, character)| {
            match character {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(character, '{' | ';')
        });
        if let Some((open, '{')) = body {
            let end = block_end(code, at + open);
            found.push((name, code[at..end].lines().count()));
        }
    }
    found
}

/// Whether this word stands in the code.
pub fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_name) && !code[at + word.len()..].starts_with(is_name)
    })
}

#[test]
fn comments_and_literals_are_no_code() {
    // What is blank in the code is an underscore in the expectation.
    for (source, code) in [
        ("a // unsafe\nb", "a _________\nb"),
        ("a /* x /* y */ { */ b", "a _________________ b"),
        (r#"f("} \" {")+g"#, "f(________)+g"),
        ("r#\"a\"}\"#;r", "________;r"),
        ("b'{' c'x", "____ c'x"),
        ("br\"{\";b\"}\";'\\'';'}'", "_____;____;____;___"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("\"open", "_____"),
        ("var\"s\"", "var___"),
        ("/* open", "_______"),
    ] {
        assert_eq!(
            code_only(source).replace(' ', "_"),
            code.replace(' ', "_"),
            "{source}"
        );
    }
}

#[test]
fn tests_are_taken_out() {
    for (code, kept) in [
        ("a\n#[cfg(test)]\nmod tests { fn f() { {} } }\nb", "a\n\nb"),
        ("a\n#[cfg(test)]\nmod tests;\nb", "a\n\nb"),
        ("a #[cfg(test)] mod t { never closed", "a "),
        ("a\n#[cfg(test)]", "a\n"),
    ] {
        assert_eq!(without_tests(code), kept);
    }
}

#[test]
fn functions_are_measured() {
    let code = "pub fn one() -> [u8; 3] { x }\ntrait T { fn none(&self) -> [u8; 2]; }\n\
                fn two<F: Fn(u8)>(\n  f: F,\n) where F: Copy\n{\n  fn inner() {\n  }\n}\ntype P = fn (u8);";
    let found = functions(code);
    let expected = [("one", 1), ("two", 7), ("inner", 2)];
    assert_eq!(
        found,
        expected.map(|(name, lines)| (name.to_owned(), lines))
    );
}

#[test]
fn words_are_whole() {
    assert!(has_word("a unsafe{}", "unsafe"));
    assert!(!has_word("unsafe_code not_unsafe", "unsafe"));
}
