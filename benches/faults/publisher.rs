//! A publisher: hands in one group after the other, and again what was not answered.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::hand_in::{Answer, Door, Way};
use super::ledger::{Outcome, Publication};
use super::world::{LAST, World};

/// The most publications in a group.
const GROUP: usize = 12;

/// The most bytes of most events beside their stamp.
const SMALL: usize = 200;

/// The same of a few: some pages of history are one event.
const LARGE: usize = 70_000;

/// How long a publisher waits before it tries again.
const PAUSE: Duration = Duration::from_millis(2);

/// Hands in groups until the run is over, and says what became of each publication.
///
/// # Errors
/// If Sidestream says what it never should.
pub(super) fn publish(world: &World, number: u16, mut rng: Rng) -> io::Result<Vec<Publication>> {
    let way = [Way::Lines, Way::Post, Way::Lines, Way::Batch][usize::from(number % 4)];
    let mut publisher = Publisher::new(world, way, usize::from(number), rng.fork());
    let mut count = 0;
    let a_second = world.options.rate as f32 / f32::from(world.options.publishers);
    while !world.is_over.load(Relaxed) {
        let begun = Instant::now();
        let size = if way == Way::Post { 1 } else { rng.usize(1..=GROUP) };
        let group = (0..size).map(|_| {
            count += 1;
            Draft::random(world, u64::from(number) << 40 | count, &mut rng)
        });
        let group = group.collect();
        publisher.hand_in(group)?;
        // Not in step with the others.
        let planned = Duration::from_secs_f32(size as f32 / a_second * (0.5 + rng.f32()));
        std::thread::sleep(planned.saturating_sub(begun.elapsed()));
    }
    Ok(publisher.done)
}

/// Hands in the last publication of all, which must be acknowledged.
///
/// # Errors
/// The same.
pub(super) fn publish_last(world: &World) -> io::Result<Vec<Publication>> {
    let last = publish_to_all(world, LAST)?;
    if let Outcome::Acknowledged(id) = last.outcome {
        world.end(id);
    }
    Ok(vec![last])
}

/// Hands in one that goes to all channels.
///
/// # Errors
/// The same.
pub(super) fn publish_to_all(world: &World, stamp: u64) -> io::Result<Publication> {
    let mut publisher = Publisher::new(world, Way::Lines, 0, Rng::with_seed(stamp));
    let channels = u32::MAX >> (32 - u32::from(world.options.channels));
    publisher.hand_in(vec![Draft::new(world, stamp, channels, 0, true)])?;
    publisher.done.pop().ok_or_else(|| io::Error::other("a publication has got lost in this tool"))
}

/// A publication on its way.
struct Draft {
    text: String,
    /// One without a key is not handed in twice: that might be stored twice.
    has_key: bool,
    /// Whether it is tried again after an error.
    is_insisted_on: bool,
    publication: Publication,
}

impl Draft {
    fn random(world: &World, stamp: u64, rng: &mut Rng) -> Self {
        let channel = |rng: &mut Rng| 1u32 << rng.u8(0..world.options.channels);
        // A third go to several.
        let more = if rng.u8(0..3) == 0 { channel(rng) | channel(rng) } else { 0 };
        let channels = channel(rng) | more;
        let padding = if rng.u16(0..500) == 0 { rng.usize(0..LARGE) } else { rng.usize(0..SMALL) };
        let mut draft = Self::new(world, stamp, channels, padding, rng.u8(0..8) > 0);
        draft.is_insisted_on &= rng.bool();
        draft
    }

    fn new(world: &World, stamp: u64, channels: u32, padding: usize, has_key: bool) -> Self {
        let names = (0..32).filter(|bit| channels & (1 << bit) != 0).map(|bit| format!("\"c{bit}\""));
        let names: Vec<_> = names.collect();
        let key = if has_key { format!(",\"key\":\"{stamp}\"") } else { String::new() };
        let data = format!("{stamp} {}", "x".repeat(padding));
        let text = format!("{{\"channels\":[{}],\"data\":\"{data}\"{key}}}", names.join(","));
        let begun = world.now();
        let outcome = Outcome::Unknown;
        let publication = Publication { stamp, channels, begun, again: 0, unanswered: 0, outcome };
        Self { text, has_key, is_insisted_on: has_key, publication }
    }
}

struct Publisher<'w> {
    world: &'w World,
    way: Way,
    /// Where it begins, and where it hands in after it was refused there.
    home: usize,
    node: usize,
    door: Option<Door>,
    done: Vec<Publication>,
    rng: Rng,
}

impl<'w> Publisher<'w> {
    fn new(world: &'w World, way: Way, number: usize, rng: Rng) -> Self {
        let home = number % world.sockets.len();
        Self { world, way, home, node: home, door: None, done: Vec::new(), rng }
    }

    /// Hands in a group until it is known of each publication what became of it, or it is given up.
    fn hand_in(&mut self, mut group: Vec<Draft>) -> io::Result<()> {
        self.world.published.fetch_add(group.len() as u64, Relaxed);
        self.turn_to(self.home);
        while !group.is_empty() {
            if self.world.is_given_up.load(Relaxed) {
                self.done.extend(group.into_iter().map(|draft| draft.publication));
                return Ok(());
            }
            let Some(door) = self.open() else {
                self.turn_away();
                std::thread::sleep(PAUSE);
                continue;
            };
            let texts: Vec<_> = group.iter().map(|draft| draft.text.clone()).collect();
            let begun = Instant::now();
            let answers = door.hand_in(&texts);
            let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.world.slowest.fetch_max(took, Relaxed);
            if answers.contains(&Answer::None) {
                self.door = None;
            }
            let has_failed = answers.iter().any(|answer| !matches!(answer, Answer::Id(_)));
            let answered: Vec<_> = group.into_iter().zip(answers).collect();
            group = Vec::new();
            for (draft, answer) in answered {
                group.extend(self.answered(draft, answer)?);
            }
            if has_failed {
                self.turn_away();
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Takes note of an answer. Gives the publication back if it is to be tried again.
    fn answered(&mut self, mut draft: Draft, answer: Answer) -> io::Result<Option<Draft>> {
        let publication = &mut draft.publication;
        let goes_on = match answer {
            Answer::Id(said) => {
                let id = self.world.id(&said);
                let id = id.ok_or_else(|| io::Error::other(format!("an id like no other: {said}")))?;
                publication.outcome = match id.seq {
                    // It was kept in an epoch that is over, under an id of which nobody knows.
                    0 => Outcome::Passing,
                    _ => Outcome::Acknowledged(id),
                };
                self.world.acknowledge(id);
                false
            }
            Answer::Error(error) if error == "unavailable" => {
                self.world.refused.fetch_add(1, Relaxed);
                publication.outcome =
                    if publication.unanswered == 0 { Outcome::Refused } else { Outcome::Unknown };
                draft.is_insisted_on
            }
            Answer::Error(error) => {
                return Err(io::Error::other(format!("{} was refused: {error}", draft.text)));
            }
            Answer::None | Answer::Unknown => {
                self.world.unanswered.fetch_add(1, Relaxed);
                publication.unanswered += 1;
                publication.outcome = Outcome::Unknown;
                draft.has_key
            }
        };
        if goes_on {
            draft.publication.again += 1;
            return Ok(Some(draft));
        }
        self.done.push(draft.publication);
        Ok(None)
    }

    fn open(&mut self) -> Option<&mut Door> {
        if self.door.is_none() {
            let patience = self.world.options.patience();
            self.door = Door::open(&self.world.sockets[self.node], self.way, patience).ok();
        }
        self.door.as_mut()
    }

    /// Goes to another node, or stays, where there are several.
    fn turn_away(&mut self) {
        let node = self.rng.usize(0..self.world.sockets.len());
        self.turn_to(node);
    }

    fn turn_to(&mut self, node: usize) {
        if node != self.node {
            (self.node, self.door) = (node, None);
        }
    }
}
