//! Choices about prompts, as knobs of every run.

use admix_model::prompt::{Emphasis, Long, Rules, Syntax};
use admix_sample::{Knob, KnobValues};

/// Whose notation.
pub const SYNTAX: Knob = Knob::choice(
    "prompt_syntax",
    "Prompt syntax",
    &["a1111", "comfy", "plain"],
    "a1111: (a:1.2) [a] [a:b:0.5] [a|b] AND BREAK <lora:name:1>; comfy: (a:1.2) embedding:name; plain: everything is text",
);

/// What weights do.
pub const EMPHASIS: Knob = Knob::choice(
    "emphasis",
    "Prompt weights",
    &["auto", "original", "no_norm", "comfy", "ignore"],
    "original: multiply and bring the mean back (A1111); no_norm: multiply; comfy: away from the empty prompt; auto: as the syntax has it",
);

/// Long prompts.
pub const LONG: Knob = Knob::choice(
    "long_prompt",
    "Long prompts",
    &["windows", "sentences", "cut"],
    "windows: as many as it takes; sentences: one window each, joined as LongAlign does (arXiv 2410.11817); cut: the first only",
);

/// A1111's `comma_padding_backtrack`.
pub const COMMA: Knob = Knob::number(
    "comma_backtrack",
    "Comma backtrack",
    0.0,
    74.0,
    20.0,
    "a full window ends at its last comma if that is at most this many tokens back (A1111); 0: never",
);

/// All of them.
pub const ALL: &[Knob] = &[SYNTAX, EMPHASIS, LONG, COMMA];

/// The rules that values of these knobs stand for.
pub fn rules(values: &KnobValues) -> Rules {
    let syntax = match values.get(&SYNTAX) as usize {
        1 => Syntax::Comfy,
        2 => Syntax::Plain,
        _ => Syntax::A1111,
    };
    let emphasis = match values.get(&EMPHASIS) as usize {
        1 => Emphasis::Original,
        2 => Emphasis::NoNorm,
        3 => Emphasis::Comfy,
        4 => Emphasis::Ignore,
        _ if syntax == Syntax::Comfy => Emphasis::Comfy,
        _ => Emphasis::Original,
    };
    let long = match values.get(&LONG) as usize {
        1 => Long::Sentences,
        2 => Long::Cut,
        _ => Long::Windows,
    };
    Rules { syntax, emphasis, long, backtrack: values.get(&COMMA).round() as usize }
}
