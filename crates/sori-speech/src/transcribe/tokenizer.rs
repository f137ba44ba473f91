//! Whisper's byte-level BPE: text to token ids and back.
//!
//! Tokens are known by their bytes. Encoding merges the adjacent pair whose union has the lowest id, as tiktoken does with
//! the ranks that openai/whisper ships; in every Whisper vocabulary ids are ranks, so that one rule serves tokenizer.json,
//! vocab.json and the vocabulary inside a GGML file, which has no merge list.

use std::collections::HashMap;
use std::path::Path;

use fancy_regex::Regex;
use sori_infer::{InferError, InferErrorKind};
use unicode_normalization::UnicodeNormalization;

/// GPT-2's split of a text into pieces that merges never cross (openai/gpt-2 src/encoder.py).
const PIECES: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// The longest text that is encoded, in bytes: a prompt never uses more than half the text context.
const MAX_TEXT: usize = 1 << 16;

/// A vocabulary with its special tokens.
#[derive(Debug)]
pub struct Tokenizer {
    tokens: Vec<Vec<u8>>,
    ids: HashMap<Vec<u8>, u32>,
    special: HashMap<String, u32>,
    pieces: Regex,
    decomposed: bool,
}

impl Tokenizer {
    /// A tokenizer of text tokens, by id, and special tokens; `decomposed` vocabularies spell in NFD.
    pub fn new(tokens: Vec<Vec<u8>>, special: HashMap<String, u32>, decomposed: bool) -> Self {
        let ids = tokens
            .iter()
            .enumerate()
            .rev()
            .map(|(id, bytes)| (bytes.clone(), id as u32))
            .collect();
        let pieces = Regex::new(PIECES).expect("the pattern is a constant");
        Self {
            tokens,
            ids,
            special,
            pieces,
            decomposed,
        }
    }

    /// Reads `tokenizer.json`, or `vocab.json` with `added_tokens.json`, from a Hugging Face folder.
    ///
    /// # Errors
    /// When neither is there or one is not what its name says.
    pub fn from_folder(folder: &Path) -> Result<Self, InferError> {
        let whole = folder.join("tokenizer.json");
        if whole.exists() {
            let file: TokenizerFile = read_json(&whole)?;
            let special = file
                .added_tokens
                .into_iter()
                .map(|t| (t.content, t.id))
                .collect();
            let decomposed = file.normalizer.is_some_and(|n| n.kind == "NFD");
            return Ok(Self::new(
                by_id(&whole, file.model.vocab, &special)?,
                special,
                decomposed,
            ));
        }
        let path = folder.join("vocab.json");
        let vocab: HashMap<String, u32> = read_json(&path)?;
        let special: HashMap<String, u32> = read_json(&folder.join("added_tokens.json"))?;
        Ok(Self::new(by_id(&path, vocab, &special)?, special, false))
    }

    /// Id of a special token such as `<|startoftranscript|>`.
    pub fn special(&self, name: &str) -> Option<u32> {
        self.special.get(name).copied()
    }

    /// All special tokens by name.
    pub fn specials(&self) -> impl Iterator<Item = (&str, u32)> {
        self.special.iter().map(|(name, &id)| (name.as_str(), id))
    }

    /// Token ids of a text; special tokens in it are spelled out, never obeyed.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut end = text.len().min(MAX_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text: String = if self.decomposed {
            text[..end].nfd().collect()
        } else {
            text[..end].to_owned()
        };
        let pieces = self.pieces.find_iter(&text).filter_map(Result::ok);
        pieces
            .flat_map(|piece| self.merge(piece.as_str().as_bytes()))
            .collect()
    }

    fn merge(&self, bytes: &[u8]) -> Vec<u32> {
        let mut ends: Vec<usize> = (0..=bytes.len()).collect();
        loop {
            let best = (0..ends.len().saturating_sub(2))
                .filter_map(|i| {
                    self.ids
                        .get(&bytes[ends[i]..ends[i + 2]])
                        .map(|&id| (id, i))
                })
                .min();
            let Some((_, i)) = best else { break };
            ends.remove(i + 1);
        }
        ends.windows(2)
            .filter_map(|e| self.ids.get(&bytes[e[0]..e[1]]).copied())
            .collect()
    }

    /// The text of token ids, composed (NFC); special tokens are left out, broken UTF-8 becomes U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).nfc().collect()
    }

    /// The bytes of a text token; none for a special one.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.tokens.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// Tokens that write no speech: brackets, notes, symbols (openai/whisper tokenizer.py, `non_speech_tokens`).
    pub fn non_speech(&self) -> Vec<u32> {
        let plain = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』".split(' ');
        let joined =
            "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪".split(' ');
        let notes = ["♩", "♪", "♫", "♬", "♭", "♮", "♯"];
        let mut found: Vec<u32> = [" -", " '"]
            .iter()
            .filter_map(|s| self.encode(s).first().copied())
            .collect();
        for symbol in plain.chain(joined).chain(notes) {
            for ids in [self.encode(symbol), self.encode(&format!(" {symbol}"))] {
                if ids.len() == 1 || notes.contains(&symbol) {
                    found.extend(ids.first());
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[derive(serde::Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Normalizer>,
    model: Model,
}

#[derive(serde::Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(serde::Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(serde::Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, InferError> {
    let text = std::fs::read(path).map_err(|e| InferError::io(path, e))?;
    if text.trim_ascii_start().first() != Some(&b'{') {
        let message = "not a JSON object: download the file again";
        return Err(InferError::new(InferErrorKind::Damaged, path, message));
    }
    serde_json::from_slice(&text).map_err(|e| {
        InferError::new(
            InferErrorKind::Damaged,
            path,
            format!("{e}: download the file again"),
        )
        .caused_by(e)
    })
}

/// Orders a vocabulary by id and turns GPT-2's printable stand-ins back into bytes.
fn by_id(
    path: &Path,
    vocab: HashMap<String, u32>,
    special: &HashMap<String, u32>,
) -> Result<Vec<Vec<u8>>, InferError> {
    let count = vocab.len();
    let mut tokens = vec![Vec::new(); count];
    for (token, id) in vocab {
        if special.get(&token) == Some(&id) {
            continue; // some vocab.json files list <|endoftext|> among the text tokens
        }
        let bytes = token.chars().map(byte_of).collect::<Option<Vec<u8>>>();
        match (tokens.get_mut(id as usize), bytes) {
            (Some(place), Some(bytes)) => *place = bytes,
            _ => {
                let message = format!(
                    "token {token:?} with id {id} has no place in a byte-level vocabulary of {count}"
                );
                return Err(InferError::new(InferErrorKind::Damaged, path, message));
            }
        }
    }
    Ok(tokens)
}

/// The byte that a printable stand-in means (openai/gpt-2 src/encoder.py, `bytes_to_unicode`).
fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        plain @ (33..=126 | 161..=172 | 174..=255) => Some(plain as u8),
        moved @ 256..=288 => Some((moved - 256) as u8),
        moved @ 289..=322 => Some((moved - 289 + 127) as u8),
        323 => Some(173),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_only(extra: &[&str]) -> Tokenizer {
        let tokens = (0..=255u8)
            .map(|b| vec![b])
            .chain(extra.iter().map(|t| t.as_bytes().to_vec()))
            .collect();
        Tokenizer::new(
            tokens,
            HashMap::from([("<|endoftext|>".to_owned(), 300)]),
            true,
        )
    }

    #[test]
    fn stand_ins_cover_every_byte_once() {
        let mut seen: Vec<u8> = (0..400)
            .filter_map(char::from_u32)
            .filter_map(byte_of)
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of('Ġ'), Some(b' '));
    }

    #[test]
    fn pairs_of_lowest_id_merge_first() {
        let t = bytes_only(&["ab", "bc", "abc"]);
        assert_eq!(t.encode("abc"), [258]);
        assert_eq!(t.encode("bcb"), [257, u32::from(b'b')]);
    }

    #[test]
    fn any_text_comes_back_composed() {
        let t = bytes_only(&[]);
        for text in [
            "",
            "hello world",
            "안녕하세요 값싼",
            "a\u{0}\u{7f}é😀 \n\t x",
            "<|endoftext|>",
        ] {
            assert_eq!(t.decode(&t.encode(text)), text);
        }
        assert_eq!(t.decode(&[0xff, 300, 99999]), "\u{fffd}");
    }
}
