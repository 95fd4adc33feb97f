//! SentencePiece models, as the SentencePiece library uses them:
//! [Kudo and Richardson 2018](https://arxiv.org/abs/1808.06226).
//!
//! ```text
//! mod.rs        SentencePiece: read, encode, decode
//! proto.rs      the file
//! normalize.rs  text to normalized text, with where it came from
//! charsmap.rs   the rules of normalization
//! unigram.rs    the most likely pieces
//! bpe.rs        merged pairs
//! trie.rs       pieces by their beginnings
//! ```
//!
//! The `tokenizers` crate comes close to this, but applies rules to grapheme clusters, adds scores word by word, and
//! finds user-defined symbols before normalizing: other ids for rare texts. `transformers` accepts that, and so do we
//! where a class of `transformers` is named (`super::files`); a model file by itself means what its library does.

mod bpe;
mod charsmap;
mod normalize;
pub(super) mod proto;
mod trie;
mod unigram;

use ahash::AHashMap;
use normalize::Normalizer;
pub(super) use normalize::SPACE;
use proto::{ModelKind, Piece, PieceKind, Proto};
use trie::Trie;
use unigram::Unigram;

/// A model that encodes and decodes.
#[derive(Debug)]
pub(super) struct SentencePiece {
    bytes: Vec<u8>,
    vocabulary: Vocabulary,
    normalizer: Normalizer,
    user_defined: Trie,
    unigram: Option<Unigram>,
    proto: Proto,
}

/// A token of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: u32,
    /// The text it covers after normalization; for an unknown one that is not its piece.
    pub(super) text: String,
    /// Bytes of the input.
    pub(super) range: (usize, usize),
}

/// Pieces by their texts.
#[derive(Debug)]
struct Vocabulary {
    /// Pieces that text can become.
    texts: AHashMap<String, u32>,
    /// The others.
    reserved: AHashMap<String, u32>,
    unknown: u32,
}

impl SentencePiece {
    /// Reads a model file's bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let proto = Proto::read(bytes)?;
        let vocabulary = Vocabulary::new(&proto)?;
        let pieces = &proto.pieces;
        let texts = |want: fn(PieceKind) -> bool| {
            let chosen = pieces.iter().zip(0..).filter(move |(piece, _)| want(piece.kind));
            Trie::new(chosen.map(|(piece, id)| (piece.text.as_str(), id)))
        };
        let user_defined = texts(|kind| kind == PieceKind::UserDefined);
        let unigram = match proto.trainer.kind {
            ModelKind::Unigram => Some(Unigram::new(pieces, texts(is_text), vocabulary.unknown)),
            ModelKind::Bpe => None,
            kind => return Err(format!("it is a {} model, want unigram or BPE", kind.name())),
        };
        let suffix = proto.trainer.treat_whitespace_as_suffix;
        let normalizer = Normalizer::new(&proto.normalizer, user_defined.clone(), suffix)?;
        Ok(Self { bytes: bytes.to_vec(), vocabulary, normalizer, user_defined, unigram, proto })
    }

    /// The file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the file says.
    pub(super) fn proto(&self) -> &Proto {
        &self.proto
    }

    /// The id of what has no piece.
    pub(super) fn unknown(&self) -> u32 {
        self.vocabulary.unknown
    }

    /// The piece of `id`.
    pub(super) fn piece(&self, id: u32) -> Option<&Piece> {
        self.proto.pieces.get(id as usize)
    }

    /// The tokens of a text, without begin or end.
    pub(super) fn encode(&self, input: &str) -> Vec<Part> {
        let normalized = self.normalizer.normalize(input);
        let text = normalized.text.as_str();
        let segments = match &self.unigram {
            Some(unigram) => unigram.segment(text),
            None => bpe::segment(text, self),
        };
        let mut parts: Vec<Part> = Vec::with_capacity(segments.len());
        let mut after_unknown = false;
        for (id, from, to) in segments {
            let range = (normalized.origin[from], normalized.origin[to]);
            let unknown = id == self.vocabulary.unknown;
            let covered = &text[from..to];
            match parts.last_mut().filter(|_| unknown && after_unknown) {
                _ if unknown && self.proto.trainer.byte_fallback => {
                    let last = covered.len() - 1;
                    parts.extend(covered.bytes().enumerate().map(|(at, byte)| {
                        let text = byte_piece(byte);
                        // The last byte stands for the character.
                        let range = if at == last { range } else { (range.0, range.0) };
                        Part { id: self.vocabulary.id(&text), text, range }
                    }));
                }
                // What is unknown side by side is one token.
                Some(part) => {
                    part.text += covered;
                    part.range.1 = range.1;
                }
                None => parts.push(Part { id, text: covered.to_owned(), range }),
            }
            after_unknown = unknown;
        }
        parts
    }

    /// The text of ids; control symbols show if `with_control`, and ids beyond the vocabulary are left out.
    pub(super) fn decode(&self, ids: &[u32], with_control: bool) -> String {
        let spec = &self.proto.normalizer;
        let strips = spec.add_dummy_prefix || spec.remove_extra_whitespaces;
        let mut text = String::new();
        let mut bytes = Vec::new();
        let mut prefix_gone = false;
        for piece in ids.iter().filter_map(|&id| self.piece(id)) {
            if let Some(byte) = piece.byte() {
                bytes.push(byte);
                continue;
            }
            flush(&mut bytes, &mut text);
            match piece.kind {
                PieceKind::Control if with_control => text += &piece.text,
                PieceKind::Control => {}
                PieceKind::Unknown => text += &self.proto.trainer.unk_surface,
                _ => {
                    let mut shown = piece.text.as_str();
                    if strips
                        && text.is_empty()
                        && !prefix_gone
                        && let Some(rest) = shown.strip_prefix(SPACE)
                    {
                        shown = rest;
                        prefix_gone = !spec.remove_extra_whitespaces;
                    }
                    text += &shown.replace(SPACE, " ");
                }
            }
        }
        flush(&mut bytes, &mut text);
        text
    }
}

impl Vocabulary {
    fn new(proto: &Proto) -> Result<Self, String> {
        let (mut texts, mut reserved) = (AHashMap::new(), AHashMap::new());
        let mut unknown = None;
        for (piece, id) in proto.pieces.iter().zip(0..) {
            if piece.text.is_empty() {
                return Err(format!("piece {id} is empty"));
            }
            if !piece.score.is_finite() {
                return Err(format!("piece {id} {:?} has the score {}", piece.text, piece.score));
            }
            let map = if is_text(piece.kind) { &mut texts } else { &mut reserved };
            if let Some(other) = map.insert(piece.text.clone(), id) {
                return Err(format!("pieces {other} and {id} are both {:?}", piece.text));
            }
            match piece.kind {
                PieceKind::Unknown if unknown.replace(id).is_some() => {
                    return Err(format!("piece {id} {:?} is a second unknown piece", piece.text));
                }
                PieceKind::Byte if piece.byte().is_none() => {
                    return Err(format!("piece {id} {:?} is a byte, want a text such as <0x1F>", piece.text));
                }
                PieceKind::Byte if !proto.trainer.byte_fallback => {
                    return Err(format!("piece {id} {:?} is a byte, and byte_fallback is off", piece.text));
                }
                _ => {}
            }
        }
        let unknown = unknown.ok_or("it has no unknown piece")?;
        let lacking = (0..=255).find(|&byte| !reserved.contains_key(&byte_piece(byte)));
        if let (true, Some(byte)) = (proto.trainer.byte_fallback, lacking) {
            return Err(format!("byte_fallback is on, and piece {} is missing", byte_piece(byte)));
        }
        Ok(Self { texts, reserved, unknown })
    }

    /// The piece that text can become.
    fn text_piece(&self, text: &str) -> Option<u32> {
        self.texts.get(text).copied()
    }

    fn id(&self, text: &str) -> u32 {
        self.reserved.get(text).or_else(|| self.texts.get(text)).copied().unwrap_or(self.unknown)
    }
}

impl Piece {
    /// The byte of a byte piece.
    pub(super) fn byte(&self) -> Option<u8> {
        let digits = self.text.strip_prefix("<0x")?.strip_suffix('>').filter(|_| self.kind == PieceKind::Byte)?;
        u8::from_str_radix(digits, 16).ok().filter(|&byte| self.text == byte_piece(byte))
    }
}

fn is_text(kind: PieceKind) -> bool {
    matches!(kind, PieceKind::Normal | PieceKind::UserDefined | PieceKind::Unused)
}

fn byte_piece(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// Adds bytes as text: each that belongs to no character is shown as one replacement character.
fn flush(bytes: &mut Vec<u8>, text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n('\u{FFFD}', chunk.invalid().len()));
    }
    bytes.clear();
}

#[cfg(test)]
mod tests;
