//! `admix suggest`: not there yet.

use std::path::PathBuf;

use super::fault::Fault;

/// Arguments of `admix suggest`.
#[derive(clap::Args)]
pub struct SuggestArgs {
    /// What the picture shall show
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// A folder of adapters to choose from; may be repeated
    #[arg(long, value_name = "DIR")]
    library: Vec<PathBuf>,
    /// The model they shall fit
    #[arg(long, value_name = "REF")]
    model: Option<String>,
}

/// Says that it is not there yet.
pub fn run(args: &SuggestArgs) -> Result<(), Fault> {
    let _ = (&args.prompt, &args.library, &args.model);
    Err(Fault::input(
        "suggest is not there yet: it will split the prompt into topics and choose an adapter with a weight for each (Stylus, arXiv 2404.18928); \
         until then choose from `admix list adapters` and give them with --adapter",
    ))
}
