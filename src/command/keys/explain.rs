//! `geminate keys explain`: the running gateway's word on a choice, or what its memory says of it.

use serde::Serialize;

use crate::alias::{Aliases, is_name};
use crate::command::instance::Instance;
use crate::command::table::{Colour, Row, Table};
use crate::command::words;
use crate::config::Configuration;
use crate::pool::KeyPool;
use crate::pool::explain::{Chance, Explanation, KeyExplained};
use crate::pool::memory::Clocks;

/// What is told, and by whom.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// `gateway` or `memory`.
    source: &'static str,
    /// Why it is the memory, and what is wrong with that.
    notes: Vec<String>,
    #[serde(flatten)]
    explanation: Explanation,
}

/// A name that a model can have, with or without what may stand before it.
pub(super) fn model(text: &str) -> Result<String, String> {
    let wrong = "a model's name is at most 128 letters, digits, `.`, `_` and `-`";
    if is_name(Aliases::default().model(text)) { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

/// Asks the gateway; without one, the memory that `pool` was made from.
pub(super) async fn ask(
    configuration: &Configuration,
    pool: &KeyPool,
    asked: &str,
    note: Option<String>,
    clocks: Clocks,
) -> Told {
    let why = match of_gateway(configuration, asked).await {
        Ok(explanation) => return Told { source: "gateway", notes: Vec::new(), explanation },
        Err(why) => why,
    };
    let aliases = Aliases::new(&configuration.settings.models.aliases);
    let explanation = pool.explain(aliases.model(asked), clocks);
    let explanation = Explanation { asked: asked.to_owned(), ..explanation };
    let notes = [format!("The running gateway was not heard ({why:#}): this is from its memory in DATA_DIR")];
    Told { source: "memory", notes: notes.into_iter().chain(note).collect(), explanation }
}

async fn of_gateway(configuration: &Configuration, asked: &str) -> anyhow::Result<Explanation> {
    let instance = Instance::new(&configuration.settings, None)?;
    // A name that was let through needs no escape but for the slash that may stand in it.
    let path = format!("/monitor/keys?explain={}&limit=10000", asked.replace('/', "%2F"));
    Ok(instance.look(&path).await?)
}

impl Told {
    /// 0: a key would be chosen; 1: none would.
    pub(super) fn exit_code(&self) -> u8 {
        u8::from(self.explanation.next.is_none())
    }

    /// As people read it.
    pub(super) fn text(&self, colour: bool) -> String {
        let of = &self.explanation;
        let alias = if of.asked == of.model { String::new() } else { format!(" (asked as {})", of.asked) };
        let unknown =
            if of.known { "" } else { "\nNothing is known of this model yet: nothing is held against a key for it." };
        let next = match (&of.next, of.soonest_return) {
            (Some(id), _) => format!("The next request gets key {id}."),
            (None, Some(at)) => format!("No key would be chosen now; the first returns {}.", words::when(at, of.at)),
            (None, None) => "No key would be chosen, and none returns by itself.".to_owned(),
        };
        let held = of.in_flight_max.map(|most| {
            format!("\nMany projects were refused at once: at most {most} requests may wait for their first byte.")
        });
        let mut table = Table::new(["KEY", "ENDS IN", "CHANCE", "WEIGHT", "SHARE", "LEFT", "WHY"], 2);
        of.keys.iter().for_each(|key| table.push(row(key, of)));
        let more = of.total - of.keys.len().min(of.total);
        let cut = if more > 0 { format!("\nand {more} keys more") } else { String::new() };
        let notes = self.notes.iter().map(|note| note.clone() + ".\n").collect::<String>();
        format!(
            "{notes}{}{alias}: {next}{unknown}{}\n\n{}{cut}",
            of.model,
            held.unwrap_or_default(),
            table.text(colour)
        )
    }
}

fn row(key: &KeyExplained, of: &Explanation) -> Row<7> {
    let (word, colour) = match key.chance {
        Chance::Next => ("next", Colour::Green),
        Chance::Usable => ("usable", Colour::Green),
        Chance::Avoided => ("avoided", Colour::Yellow),
        Chance::Trial => ("trial", Colour::Yellow),
        Chance::Resting => ("rests", Colour::Yellow),
        Chance::Dead => ("dead", Colour::Red),
        Chance::Disabled => ("disabled", Colour::Grey),
    };
    let out = key.weight == 0.0;
    let cells = [
        key.id.to_string(),
        key.tail.to_string(),
        word.to_owned(),
        if out { "-".to_owned() } else { format!("{:.1} of {}", key.weight, key.configured_weight) },
        if out { "-".to_owned() } else { format!("{:.1} %", key.expected_share * 100.0) },
        left(key),
        why(key, of),
    ];
    let mut notes = Vec::new();
    let learnt = words::limits(key.learnt);
    if !learnt.is_empty() {
        notes.push(format!("learnt: {learnt}"));
    }
    if let Some(at) = key.grounding_until {
        notes.push(format!("requests with search go elsewhere; it takes them again {}", words::when(at, of.at)));
    }
    Row { cells, colour, notes }
}

/// `3/10 rpm, 200/250 rpd`
fn left(key: &KeyExplained) -> String {
    let of = |left: Option<u64>, most: Option<u64>, unit: &str| Some(format!("{}/{} {unit}", left?, most?));
    let (left, most) = (key.left, key.limits);
    let all = [of(left.rpm, most.rpm, "rpm"), of(left.tpm, most.tpm, "tpm"), of(left.rpd, most.rpd, "rpd")];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { "no limit known".to_owned() } else { all.join(", ") }
}

fn why(key: &KeyExplained, of: &Explanation) -> String {
    let reason = key.reason.map(words::why).unwrap_or_default();
    let percent = key.health * 100.0;
    match (key.chance, key.until, key.probe_at) {
        (Chance::Next, ..) => "it is its turn".to_owned(),
        (Chance::Usable, ..) if of.next.is_some() => "another's turn comes first".to_owned(),
        (Chance::Usable, ..) => "it may go on when others have come back".to_owned(),
        (Chance::Avoided, ..) => format!("failures left {percent:.0} % of the trust in it, which a minute brings back"),
        (Chance::Dead, _, Some(at)) => format!("{reason}; it is asked again {}", words::when(at, of.at)),
        (Chance::Dead, _, None) => format!("{reason}; it does not come back by itself"),
        (Chance::Resting, Some(at), _) => format!("{reason}; back {}", words::when(at, of.at)),
        _ => reason.to_owned(),
    }
}
