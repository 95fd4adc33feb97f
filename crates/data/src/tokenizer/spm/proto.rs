//! A SentencePiece model file: a protocol buffer, of which the fields that encoding needs are read.
//!
//! Field numbers are those of `sentencepiece_model.proto`; unknown fields are skipped, as the format has it.

/// The content of a model file.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::tokenizer) struct Proto {
    pub(in crate::tokenizer) pieces: Vec<Piece>,
    pub(in crate::tokenizer) trainer: Trainer,
    pub(in crate::tokenizer) normalizer: NormalizerSpec,
}

/// An entry of the vocabulary; its place is its id.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::tokenizer) struct Piece {
    pub(in crate::tokenizer) text: String,
    pub(in crate::tokenizer) score: f32,
    pub(in crate::tokenizer) kind: PieceKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tokenizer) enum PieceKind {
    Normal,
    Unknown,
    /// Never comes from text and does not show in text.
    Control,
    /// Always one token.
    UserDefined,
    /// In the vocabulary, but not to be given out.
    Unused,
    /// One byte of a character that has no piece.
    Byte,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tokenizer) enum ModelKind {
    Unigram,
    Bpe,
    Word,
    Char,
}

impl ModelKind {
    /// The name for messages.
    pub(in crate::tokenizer) fn name(self) -> &'static str {
        match self {
            Self::Unigram => "unigram",
            Self::Bpe => "BPE",
            Self::Word => "word",
            Self::Char => "character",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::tokenizer) struct Trainer {
    pub(in crate::tokenizer) kind: ModelKind,
    pub(in crate::tokenizer) split_by_whitespace: bool,
    pub(in crate::tokenizer) treat_whitespace_as_suffix: bool,
    pub(in crate::tokenizer) byte_fallback: bool,
    /// Negative where there is none.
    pub(in crate::tokenizer) bos_id: i32,
    pub(in crate::tokenizer) eos_id: i32,
    pub(in crate::tokenizer) pad_id: i32,
    pub(in crate::tokenizer) unk_surface: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::tokenizer) struct NormalizerSpec {
    pub(in crate::tokenizer) precompiled_charsmap: Vec<u8>,
    pub(in crate::tokenizer) add_dummy_prefix: bool,
    pub(in crate::tokenizer) remove_extra_whitespaces: bool,
    pub(in crate::tokenizer) escape_whitespaces: bool,
}

impl Proto {
    /// Reads a file's bytes; the error says where and what.
    pub(in crate::tokenizer) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut proto = Self { pieces: Vec::new(), trainer: Trainer::default(), normalizer: NormalizerSpec::default() };
        let mut fields = Fields { bytes, at: 0, base: 0 };
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => proto.pieces.push(Piece::read(field.message("pieces")?)?),
                2 => proto.trainer.read(field.message("trainer_spec")?)?,
                3 => proto.normalizer.read(field.message("normalizer_spec")?)?,
                // What decoding would have to apply to its text.
                5 => {
                    let mut denormalizer = NormalizerSpec::default();
                    denormalizer.read(field.message("denormalizer_spec")?)?;
                    if !denormalizer.precompiled_charsmap.is_empty() {
                        return Err("it has denormalization rules, which are not supported".into());
                    }
                }
                _ => {}
            }
        }
        if proto.pieces.is_empty() {
            return Err("it holds no pieces".into());
        }
        Ok(proto)
    }
}

impl Piece {
    fn read(mut fields: Fields<'_>) -> Result<Self, String> {
        let mut piece = Self { text: String::new(), score: 0.0, kind: PieceKind::Normal };
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => piece.text = field.text("piece")?,
                2 => piece.score = field.float("score")?,
                3 => {
                    piece.kind = match field.integer("type")? {
                        1 => PieceKind::Normal,
                        2 => PieceKind::Unknown,
                        3 => PieceKind::Control,
                        4 => PieceKind::UserDefined,
                        5 => PieceKind::Unused,
                        6 => PieceKind::Byte,
                        other => return Err(format!("byte {}: piece of type {other}, want 1 to 6", field.at)),
                    }
                }
                _ => {}
            }
        }
        Ok(piece)
    }
}

impl Default for Trainer {
    fn default() -> Self {
        Self {
            kind: ModelKind::Unigram,
            split_by_whitespace: true,
            treat_whitespace_as_suffix: false,
            byte_fallback: false,
            bos_id: 1,
            eos_id: 2,
            pad_id: -1,
            unk_surface: " \u{2047} ".into(),
        }
    }
}

impl Trainer {
    fn read(&mut self, mut fields: Fields<'_>) -> Result<(), String> {
        while let Some(field) = fields.next_field()? {
            match field.number {
                3 => {
                    self.kind = match field.integer("model_type")? {
                        1 => ModelKind::Unigram,
                        2 => ModelKind::Bpe,
                        3 => ModelKind::Word,
                        4 => ModelKind::Char,
                        other => return Err(format!("byte {}: model_type {other}, want 1 to 4", field.at)),
                    }
                }
                22 => self.split_by_whitespace = field.integer("split_by_whitespace")? != 0,
                24 => self.treat_whitespace_as_suffix = field.integer("treat_whitespace_as_suffix")? != 0,
                35 => self.byte_fallback = field.integer("byte_fallback")? != 0,
                // 32-bit integers; negative ones are written as 64 bits.
                41 => self.bos_id = field.integer("bos_id")? as i32,
                42 => self.eos_id = field.integer("eos_id")? as i32,
                43 => self.pad_id = field.integer("pad_id")? as i32,
                44 => self.unk_surface = field.text("unk_surface")?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Default for NormalizerSpec {
    fn default() -> Self {
        Self {
            precompiled_charsmap: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        }
    }
}

impl NormalizerSpec {
    fn read(&mut self, mut fields: Fields<'_>) -> Result<(), String> {
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => self.precompiled_charsmap = field.bytes("precompiled_charsmap")?.to_vec(),
                3 => self.add_dummy_prefix = field.integer("add_dummy_prefix")? != 0,
                4 => self.remove_extra_whitespaces = field.integer("remove_extra_whitespaces")? != 0,
                5 => self.escape_whitespaces = field.integer("escape_whitespaces")? != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The fields of a message in their order.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begin in the file.
    base: usize,
}

struct Field<'a> {
    number: u64,
    value: Value<'a>,
    at: usize,
}

enum Value<'a> {
    Integer(u64),
    Fixed32([u8; 4]),
    Fixed64,
    Bytes(&'a [u8], usize),
}

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Result<Option<Field<'a>>, String> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let at = self.base + self.at;
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Integer(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let start = self.base + self.at;
                Value::Bytes(self.take(length)?, start)
            }
            5 => Value::Fixed32(self.take(4)?.try_into().map_err(|_| self.cut())?),
            other => return Err(format!("byte {at}: wire type {other}, want 0, 1, 2 or 5")),
        };
        if key >> 3 == 0 {
            return Err(format!("byte {at}: field number 0"));
        }
        Ok(Some(Field { number: key >> 3, value, at }))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.cut())?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(format!("byte {}: a number of more than ten bytes", self.base + self.at))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let left = &self.bytes[self.at..];
        let taken = usize::try_from(length).ok().and_then(|length| left.get(..length)).ok_or_else(|| self.cut())?;
        self.at += taken.len();
        Ok(taken)
    }

    fn cut(&self) -> String {
        format!("byte {}: a field goes beyond the end at byte {}", self.base + self.at, self.base + self.bytes.len())
    }
}

impl<'a> Field<'a> {
    fn integer(&self, name: &str) -> Result<u64, String> {
        match self.value {
            Value::Integer(value) => Ok(value),
            _ => Err(self.wrong(name, "an integer")),
        }
    }

    fn float(&self, name: &str) -> Result<f32, String> {
        match self.value {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(self.wrong(name, "a 32-bit float")),
        }
    }

    fn bytes(&self, name: &str) -> Result<&'a [u8], String> {
        match self.value {
            Value::Bytes(bytes, _) => Ok(bytes),
            _ => Err(self.wrong(name, "bytes")),
        }
    }

    fn text(&self, name: &str) -> Result<String, String> {
        let text = std::str::from_utf8(self.bytes(name)?);
        text.map(str::to_owned).map_err(|_| self.wrong(name, "UTF-8"))
    }

    fn message(&self, name: &str) -> Result<Fields<'a>, String> {
        match self.value {
            Value::Bytes(bytes, base) => Ok(Fields { bytes, at: 0, base }),
            _ => Err(self.wrong(name, "a message")),
        }
    }

    fn wrong(&self, name: &str, want: &str) -> String {
        format!("byte {}: `{name}` is not {want}", self.at)
    }
}
