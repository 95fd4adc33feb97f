//! placeholder
/// x
pub const RECIPE: &str = include_str!("../../../../recipes/glove.toml");
/// x
pub fn pretrain(
    _: &crate::Request<'_>,
    _: &mut dyn bedstone_run::Progress,
    _: &bedstone_run::Interrupt,
) -> crate::Result<crate::Report> {
    Err(crate::WordsError::Interrupted)
}
