//! Sets of pictures with what is to be learned of them.
//!
//! ```text
//! mod.rs       PictureSet: records in a fixed order
//! folder.rs    a folder of pictures, or a folder for each class
//! table.rs     CSV, TSV and JSON lines of paths and labels
//! idx.rs       MNIST and its relatives
//! cifar.rs     CIFAR-10 and CIFAR-100
//! coco.rs      boxes as in COCO
//! shards.rs    tar files as of WebDataset
//! ```

mod cifar;
mod coco;
mod folder;
mod idx;
mod shards;
mod table;

pub use cifar::cifar;
pub use coco::{CocoOptions, coco};
pub use folder::folder;
pub use idx::{idx, mnist};
pub use shards::shards;
pub use table::{TableOptions, table};

use super::{Error, Object, Picture, decode};
use crate::labelled::{Labels, Place, Unlabelled};
use std::{
    fmt,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which part of a data set that comes in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To learn from.
    Train,
    /// To measure with.
    Test,
}

/// What is known of a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Nothing.
    None,
    /// The number of its class.
    Class(usize),
    /// What is in it, perhaps nothing. Boxes are as the file has them: they may reach beyond the picture.
    Objects(Vec<Object>),
}

impl Target {
    /// The objects, none if it is no target of objects.
    pub fn objects(&self) -> &[Object] {
        match self {
            Self::Objects(objects) => objects,
            Self::None | Self::Class(_) => &[],
        }
    }
}

/// A picture with its target.
#[derive(Clone)]
pub struct Record {
    /// What messages call it.
    pub name: String,
    /// What is known of it.
    pub target: Target,
    at: At,
}

/// Draws the picture of a record by its number.
pub type Draw = Arc<dyn Fn(u64) -> Result<Picture, Error> + Send + Sync>;

/// Where a picture is.
#[derive(Clone)]
enum At {
    /// In a file of its own; width and height where they are written down.
    File { path: PathBuf, size: Option<[usize; 2]> },
    /// A part of a larger file.
    Part { path: Arc<Path>, begin: u64, bytes: u64 },
    /// Pixels in memory: planes of one or three colours, one after the other.
    Planes { data: Arc<Vec<u8>>, begin: usize, width: usize, height: usize, planes: usize },
    /// Made when it is asked for.
    Drawn { draw: Draw, number: u64 },
}

/// Pictures with targets, in an order that stays.
#[derive(Clone)]
pub struct PictureSet {
    records: Arc<Vec<Record>>,
    labels: Option<Labels>,
    notes: Notes,
}

/// What a reader let pass, to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Files in folders of pictures that are no pictures.
    pub ignored_files: u64,
    /// Boxes that reach beyond their picture; training cuts them off where the picture ends.
    pub outside: u64,
    /// Boxes of no width or height, or wholly outside: training learns nothing from them.
    pub empty: u64,
    /// The first of them.
    pub first_empty: Option<String>,
    /// Pictures without an object.
    pub without_objects: u64,
}

impl PictureSet {
    /// A set of `number` pictures that are made when they are asked for; `target` says what is in each.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecords`] for none.
    pub fn drawn(
        name: &str,
        number: u64,
        labels: Labels,
        target: impl Fn(u64) -> Target,
        draw: Draw,
    ) -> Result<Self, Error> {
        let record = |number| {
            let at = At::Drawn { draw: draw.clone(), number };
            Record { name: format!("{name}, record {}", number + 1), target: target(number), at }
        };
        Self::new((0..number).map(record).collect(), Some(labels), Notes::default())
    }

    fn new(records: Vec<Record>, labels: Option<Labels>, mut notes: Notes) -> Result<Self, Error> {
        if records.is_empty() {
            return Err(Error::NoRecords);
        }
        let empty = |record: &&Record| matches!(&record.target, Target::Objects(objects) if objects.is_empty());
        notes.without_objects = records.iter().filter(empty).count() as u64;
        Ok(Self { records: Arc::new(records), labels, notes })
    }

    /// Pictures.
    #[allow(clippy::len_without_is_empty)] // There is always one.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The records, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The names of the classes, if there are targets.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// What a reader let pass.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Only the records of these numbers, in this order.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecords`] for none.
    ///
    /// # Panics
    ///
    /// If a number is not that of a record.
    pub fn subset(&self, numbers: &[usize]) -> Result<Self, Error> {
        let records = numbers.iter().map(|&number| self.records[number].clone()).collect();
        Self::new(records, self.labels.clone(), self.notes.clone())
    }

    /// The same without what its reader let pass.
    pub fn without_notes(self) -> Self {
        Self { notes: Notes::default(), ..self }
    }

    /// The same with other names of its classes, of which there may be more.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] where there are fewer.
    pub fn with_labels(self, labels: Labels) -> Result<Self, Error> {
        match &self.labels {
            Some(own) if own.len() > labels.len() => {
                let reason = format!("{} classes, wanted at most {}", own.len(), labels.len());
                let path = self.records.first().map(|r| r.name.clone()).unwrap_or_default().into();
                Err(Error::Layout { path, format: "labels", reason })
            }
            _ => Ok(Self { labels: Some(labels), ..self }),
        }
    }

    /// A hash of names, targets and classes: another one for other records or another order. Pixels do not count.
    pub fn fingerprint(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for record in self.records.iter() {
            // Lengths and separators do not matter: `Debug` escapes.
            hash.update(format!("{:?} {:?}\n", record.name, record.target).as_bytes());
        }
        hash.update(format!("{:?}", self.labels.as_ref().map(Labels::names)).as_bytes());
        hash.finalize().to_hex().to_string()
    }
}

impl Record {
    /// Its pixels.
    ///
    /// # Errors
    ///
    /// As [`decode::open`]; [`Error::OtherSize`] if the picture is not of the size that its record says.
    pub fn picture(&self) -> Result<Picture, Error> {
        match &self.at {
            At::File { path, size } => {
                let picture = decode::open(path)?;
                let got = [picture.width(), picture.height()];
                match size {
                    Some(want) if *want != got => {
                        Err(Error::OtherSize { name: self.name.clone(), path: path.clone(), got, want: *want })
                    }
                    _ => Ok(picture),
                }
            }
            At::Part { path, begin, bytes } => {
                let read = || {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(*begin))?;
                    let mut data = vec![0; *bytes as usize];
                    file.read_exact(&mut data)?;
                    Ok(data)
                };
                let data = read().map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
                decode::decode(&data, &self.name)
            }
            At::Planes { data, begin, width, height, planes } => {
                let pixels = width * height;
                let data = &data[*begin..][..pixels * planes];
                let pixel = |n| [0, 1, 2].map(|plane| data[(plane % planes) * pixels + n]);
                Picture::new(*width, *height, (0..pixels).flat_map(pixel).collect())
            }
            At::Drawn { draw, number } => draw(*number),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("name", &self.name).field("target", &self.target).finish_non_exhaustive()
    }
}

impl fmt::Debug for PictureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PictureSet({} pictures, {:?})", self.len(), self.notes)
    }
}

/// Classes by name, before they have numbers.
struct Named {
    /// The record, where it stands, and the name of its class, if it has one.
    records: Vec<(Record, Place, Option<String>)>,
}

impl Named {
    /// Numbers for the names: those of `labels`, or by their order.
    fn numbered(self, labels: Option<&Labels>, unlabelled: Unlabelled, notes: Notes) -> Result<PictureSet, Error> {
        let names = self.records.iter().filter_map(|(.., name)| name.as_ref());
        let labels = match (labels, self.records.first()) {
            (Some(labels), _) => Some(labels.clone()),
            (None, Some((_, place, _))) if names.clone().next().is_some() => {
                Some(Labels::sorted(names.clone().collect(), names.count(), place)?)
            }
            (None, _) => None,
        };
        let record = |(record, place, name): (Record, Place, Option<String>)| {
            let target = match (&labels, name) {
                (Some(labels), Some(name)) => Target::Class(labels.id_at(&name, &place)?),
                (_, None) if unlabelled == Unlabelled::Refused => return Err(Error::NoLabel { name: record.name }),
                (_, _) => Target::None,
            };
            Ok(Record { target, ..record })
        };
        let records = self.records.into_iter().map(record).collect::<Result<Vec<_>, Error>>()?;
        PictureSet::new(records, labels, notes)
    }
}

#[cfg(test)]
mod tests;
