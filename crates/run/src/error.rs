//! The errors of this crate under one name.

use crate::{
    curve::CurveError, dir::DirError, files::FileError, log::LogError, recipe::RecipeError, space::SpaceError,
};

/// Any error of this crate, for callers that do not tell them apart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`RecipeError`].
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// See [`DirError`].
    #[error(transparent)]
    Dir(#[from] DirError),
    /// See [`LogError`].
    #[error(transparent)]
    Log(#[from] LogError),
    /// See [`CurveError`].
    #[error(transparent)]
    Curve(#[from] CurveError),
    /// See [`SpaceError`].
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
}
