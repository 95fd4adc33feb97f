//! Tables and JSON rows as records with named fields.

use super::{
    Error, Header, Place,
    input::{Format, Input},
};
use crate::corpus::{jsonl::kind, lines::Lines};
use csv_core::ReadRecordResult;
use serde_json::{Map, Value as Json};
use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
};

/// How many records are looked at before columns without names are told apart.
const PEEKED: usize = 100;

/// One record of a table or a JSON row.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) place: Place,
    fields: Fields,
}

#[derive(Debug)]
enum Fields {
    Cells { names: Arc<[String]>, cells: Vec<String> },
    Row(Map<String, Json>),
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Cell(&'a str),
    Json(&'a Json),
}

impl Record {
    /// Whether it is a JSON object, whose fields need not be those of the one before.
    pub(crate) fn is_row(&self) -> bool {
        matches!(self.fields, Fields::Row(_))
    }

    /// The names of its fields.
    pub(crate) fn names(&self) -> Vec<String> {
        match &self.fields {
            Fields::Cells { names, .. } => names.to_vec(),
            Fields::Row(row) => row.keys().cloned().collect(),
        }
    }

    /// The field of this very name; `None` also for `null`.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'_>> {
        match &self.fields {
            Fields::Cells { names, cells } => {
                let at = names.iter().position(|n| n == name)?;
                cells.get(at).map(|cell| Value::Cell(cell))
            }
            Fields::Row(row) => row.get(name).filter(|value| !value.is_null()).map(Value::Json),
        }
    }

    /// Whether there is a field of this very name, `null` or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.fields {
            Fields::Cells { names, .. } => names.iter().any(|n| n == name),
            Fields::Row(row) => row.contains_key(name),
        }
    }

    /// The first of `known` that is there, as the record spells it: capital letters make no difference.
    pub(crate) fn find(&self, known: &[&str]) -> Option<String> {
        known.iter().find_map(|&name| {
            if self.has(name) {
                return Some(name.to_owned());
            }
            match &self.fields {
                Fields::Cells { names, .. } => names.iter().find(|n| n.eq_ignore_ascii_case(name)).cloned(),
                Fields::Row(row) => row.keys().find(|n| n.eq_ignore_ascii_case(name)).cloned(),
            }
        })
    }

    /// The text of a field.
    pub(crate) fn text(&self, name: &str) -> Result<String, Error> {
        let (place, field) = (|| self.place.clone(), name.to_owned());
        let text = match self.get(name) {
            Some(Value::Cell(cell)) => cell,
            Some(Value::Json(Json::String(text))) => text,
            Some(Value::Json(other)) => {
                let (got, want) = (kind(other).to_owned(), "a string");
                return Err(Error::FieldType { place: place(), field, got, want });
            }
            None if self.has(name) => return Err(Error::Empty { place: place(), field }),
            None => return Err(Error::FieldChanges { place: place(), field, missing: true }),
        };
        if text.trim().is_empty() {
            return Err(Error::Empty { place: place(), field });
        }
        Ok(text.to_owned())
    }

    /// A finite number, `None` if the field is empty.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        let (place, field) = (|| self.place.clone(), name.to_owned());
        let (number, got) = match self.get(name) {
            Some(Value::Cell(cell)) if cell.trim().is_empty() => return Ok(None),
            Some(Value::Cell(cell)) => (cell.trim().parse().ok(), cell.to_owned()),
            Some(Value::Json(Json::Number(number))) => (number.as_f64(), number.to_string()),
            Some(Value::Json(other)) => {
                let (got, want) = (kind(other).to_owned(), "a number");
                return Err(Error::FieldType { place: place(), field, got, want });
            }
            None => return Ok(None),
        };
        match number.filter(|number: &f64| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::Number { place: place(), field, got }),
        }
    }
}

/// The records of one file, in order.
#[derive(Debug)]
pub(crate) struct Records {
    input: Input,
    lines: LinesOf,
    /// Names of the columns of a table, and the line that fixed how many there are.
    names: Arc<[String]>,
    first_line: u64,
    named: bool,
    /// Read ahead.
    queue: VecDeque<Record>,
    failure: Option<Error>,
}

impl Records {
    /// Opens a `.tsv`, `.csv` or `.jsonl`. `known` are the names by which a header is known.
    pub(crate) fn open(path: &Path, header: Header, known: &[&str]) -> Result<Self, Error> {
        let formats = [Format::Tsv, Format::Csv, Format::JsonLines];
        let input = Input::find(path, &formats, ".tsv, .csv or .jsonl")?;
        let lines = LinesOf(input.lines()?);
        let (names, queue) = (Arc::from([]), VecDeque::new());
        let mut records = Self { input, lines, names, first_line: 1, named: true, queue, failure: None };
        if records.input.format != Format::JsonLines {
            records.read_header(header, known)?;
        }
        match (records.peek().is_empty(), records.failure.take()) {
            (true, Some(failure)) => Err(failure),
            (true, None) => Err(records.input.empty()),
            (false, failure) => Ok(Self { failure, ..records }),
        }
    }

    /// Whether fields have names, or columns have numbers only.
    pub(crate) fn named(&self) -> bool {
        self.named
    }

    /// The first records, which stay to be read; at least one. An error among them is left for [`Records::next`], so
    /// that it comes in its turn.
    pub(crate) fn peek(&mut self) -> Vec<&Record> {
        while self.queue.len() < PEEKED && self.failure.is_none() {
            match self.read() {
                Ok(Some(record)) => self.queue.push_back(record),
                Ok(None) => break,
                Err(e) => self.failure = Some(e),
            }
        }
        self.queue.iter().collect()
    }

    /// The next record, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Error> {
        match (self.queue.pop_front(), self.failure.take()) {
            (Some(record), failure) => {
                self.failure = failure;
                Ok(Some(record))
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<Record>, Error> {
        if self.input.format == Format::JsonLines {
            return self.lines.row(&self.input);
        }
        let Some((line, cells)) = self.lines.cells(&self.input)? else { return Ok(None) };
        let (place, names) = (self.input.place(line), self.names.clone());
        if cells.len() != names.len() {
            return Err(Error::Columns { place, got: cells.len(), want: names.len(), first: self.first_line });
        }
        Ok(Some(Record { place, fields: Fields::Cells { names, cells } }))
    }

    fn read_header(&mut self, header: Header, known: &[&str]) -> Result<(), Error> {
        let Some((line, cells)) = self.lines.cells(&self.input)? else { return Err(self.input.empty()) };
        let place = self.input.place(line);
        let is_name = |cell: &String| known.iter().any(|name| cell.trim().eq_ignore_ascii_case(name));
        let is_number = |name: &&str| name.parse().is_ok_and(|n: usize| (1..=cells.len()).contains(&n));
        self.named = match header {
            Header::Present => true,
            Header::Absent => false,
            Header::Auto if cells.iter().any(is_name) => true,
            // Whoever names a column by its number says that there are no names.
            Header::Auto if known.iter().any(is_number) => false,
            Header::Auto if cells.iter().any(|cell| cell.split_whitespace().nth(3).is_some()) => false,
            Header::Auto => return Err(Error::Header { place, cells: cells.join(", ") }),
        };
        self.first_line = line;
        if self.named {
            let names: Vec<String> = cells.into_iter().map(|cell| cell.trim().to_owned()).collect();
            let mut seen = BTreeSet::new();
            if let Some(name) = names.iter().find(|&name| !seen.insert(name)) {
                return Err(Error::HeaderTwice { place, name: name.clone() });
            }
            self.names = names.into();
        } else {
            self.names = (1..=cells.len()).map(|number| number.to_string()).collect();
            let fields = Fields::Cells { names: self.names.clone(), cells };
            self.queue.push_back(Record { place, fields });
        }
        Ok(())
    }
}

/// Lines put together to records.
struct LinesOf(Lines);

impl LinesOf {
    /// A JSON object.
    fn row(&mut self, input: &Input) -> Result<Option<Record>, Error> {
        while let Some((number, line)) = self.0.next(&input.path)? {
            if line.trim().is_empty() {
                continue;
            }
            let place = input.place(number);
            return match serde_json::from_str(line) {
                Ok(Json::Object(row)) => Ok(Some(Record { place, fields: Fields::Row(row) })),
                Ok(other) => Err(Error::Json { place, reason: format!("{}, want a JSON object", kind(&other)) }),
                Err(e) => {
                    // The parser counts lines within the row, which the place has already.
                    let reason = e.to_string().replace(" at line 1 column", " at column");
                    Err(Error::Json { place, reason: format!("not a JSON object: {reason}") })
                }
            };
        }
        Ok(None)
    }

    /// The cells of a line of a table, or of several lines if a quoted cell holds line ends.
    fn cells(&mut self, input: &Input) -> Result<Option<(u64, Vec<String>)>, Error> {
        while let Some((number, line)) = self.0.next(&input.path)? {
            if line.trim_matches(' ').is_empty() {
                continue;
            }
            if input.format == Format::Tsv {
                return Ok(Some((number, line.split('\t').map(str::to_owned).collect())));
            }
            let mut record = CsvRecord::new();
            let mut complete = record.add(line);
            while !complete {
                match self.0.next(&input.path)? {
                    Some((_, line)) => complete = record.add(line),
                    None => return Err(Error::Quote { place: input.place(number) }),
                }
            }
            return Ok(Some((number, record.cells())));
        }
        Ok(None)
    }
}

impl std::fmt::Debug for LinesOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinesOf")
    }
}

/// One record of a CSV file in the making. Giving the parser line by line shows where a record begins, and whether its
/// last quotation mark was ever closed.
struct CsvRecord {
    parser: csv_core::Reader,
    output: Vec<u8>,
    written: usize,
    ends: Vec<usize>,
    fields: usize,
}

impl CsvRecord {
    fn new() -> Self {
        Self { parser: csv_core::Reader::new(), output: vec![0; 256], written: 0, ends: vec![0; 8], fields: 0 }
    }

    /// Whether the record ends with this line.
    fn add(&mut self, line: &str) -> bool {
        let line = format!("{line}\n");
        let mut input = line.as_bytes();
        loop {
            let (result, read, written, fields) =
                self.parser.read_record(input, &mut self.output[self.written..], &mut self.ends[self.fields..]);
            input = &input[read..];
            self.written += written;
            self.fields += fields;
            match result {
                // An empty input would tell the parser that the file ends.
                ReadRecordResult::InputEmpty => return false,
                ReadRecordResult::Record | ReadRecordResult::End => return true,
                ReadRecordResult::OutputFull => self.output.resize(self.output.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        let mut start = 0;
        let cell = |&end: &usize| {
            let bytes = &self.output[start..end];
            start = end;
            // Quotes and commas are ASCII: what is between them in a text is text.
            String::from_utf8_lossy(bytes).into_owned()
        };
        self.ends[..self.fields].iter().map(cell).collect()
    }
}
