//! One answer: a prompt and the text that the model generates after it.

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::{Chat, Session, WeightSource};
use rillm_generate::{Check, ForgottenTurns, Generation, Metrics, Step, StopReason, StopStrings, Summary};

use crate::Clock;
use crate::chat::ask;
use crate::failures::{Answer, Failures};
use crate::screen::Screen;
use crate::serve::LoadedModel;
use crate::settings::Settings;

/// Generates a text and prints it with its figures: after `prompt`, or as the answer to it in a chat.
pub async fn answer<C, S>(
    screen: &mut Screen<C>,
    settings: &mut Settings,
    loaded: &LoadedModel<'_>,
    session: &mut Session<'_, S>,
    chat: Option<&mut Chat>,
    prompt: &str,
) -> Result<Answer, C::Error>
where
    C: Read + ReadReady + Write,
    S: WeightSource<Error: fmt::Display>,
{
    let before = session.stats().traffic;
    let mut failures = Failures::default();
    let (mut chat, mut forgotten) = (chat, 0);
    if let Some(chat) = &mut chat {
        match ask(screen, session, chat, prompt).await? {
            Ok(turns) => forgotten = turns,
            Err(answer) => return Ok(answer),
        }
    } else {
        session.reset();
        while let Err(error) = session.push_text(prompt).await {
            if let Some(answer) = failures.another(screen, error)? {
                return Ok(answer);
            }
        }
        failures = Failures::default();
    }
    let sampling = settings.sampling();
    settings.next_text();

    let stop = settings.stop.as_deref();
    // `Settings::set` has checked the length.
    let stops = StopStrings::new(stop.as_slice()).unwrap_or_default();
    // An answer in a chat is a text of its own, whose leading space is not printed.
    let shown = if chat.is_some() { "" } else { prompt };
    let mut generation =
        Generation::new(loaded.model, shown, sampling).max_tokens(settings.max_tokens as usize).stop_strings(stops);
    if settings.check {
        generation = generation.with_fingerprint();
    }
    if let Some(chat) = chat {
        generation = generation.in_chat(chat);
    }
    let mut elapsed = Elapsed::new(loaded.board.clock());
    let mut metrics = Metrics::new(0, session.stats().traffic);
    screen.print(shown)?;
    let stop = loop {
        if let Some(reason) = generation.done(session) {
            break reason;
        }
        if screen.interrupted()? {
            break StopReason::Interrupted;
        }
        match generation.step(session).await {
            Ok(Step::Token(text)) => screen.say(format_args!("{text}"))?,
            // A prefill step does not reset the count of errors: only a token shows that the data was right.
            Ok(Step::Prefill) => continue,
            Ok(Step::Done(reason)) => break reason,
            Err(error) => match failures.another(screen, error)? {
                Some(answer) => return Ok(answer),
                None => continue,
            },
        }
        failures = Failures::default();
        metrics.token(elapsed.now(), session.stats().traffic);
    };
    screen.say(format_args!("{}\n", generation.finish()))?;

    let traffic = session.stats().traffic;
    let summary = Summary {
        tokens: generation.generated(),
        averages: metrics.averages(elapsed.now(), traffic),
        unit: loaded.board.clock().map(|clock| clock.unit),
        stop,
        max_tokens_name: "/max",
        context: session.plan().context,
        ram: loaded.memory(session).ram(),
        has_read: traffic.bytes > before.bytes,
        seed: sampling.seed,
    };
    screen.say(format_args!("{summary}\n"))?;
    let turns = forgotten + generation.forgotten_turns();
    if turns > 0 {
        screen.say(format_args!("{}\n", ForgottenTurns { context: session.plan().context, turns }))?;
    }
    if let Some(logits) = generation.fingerprint() {
        screen.say(format_args!("{}\n", Check { ids: session.tokens(), logits }))?;
    }
    Ok(Answer::Done)
}

/// Ticks since the start, from a counter that wraps around.
struct Elapsed {
    clock: Option<Clock>,
    last: u32,
    ticks: u64,
}

impl Elapsed {
    fn new(clock: Option<Clock>) -> Self {
        Self { clock, last: clock.map_or(0, |clock| (clock.ticks)()), ticks: 0 }
    }

    fn now(&mut self) -> u64 {
        if let Some(clock) = self.clock {
            let now = (clock.ticks)();
            self.ticks += u64::from(now.wrapping_sub(self.last));
            self.last = now;
        }
        self.ticks
    }
}
