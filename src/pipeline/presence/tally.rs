//! How many cards are in the areas of one part of a page, counted here and given to all shards at its end: a limit is asked about
//! at every swipe, and the shared count costs more than the few areas of a part.

use super::areas::Names;
use crate::pipeline::occupancy::Occupancy;

/// One area: how many there were when it was first asked about, and what changed here since.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    is_read: bool,
    count: i64,
    change: i64,
}

/// The areas of a part.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By the number of the area's name.
    counts: Vec<Count>,
    /// The areas that this part touched.
    read: Vec<u32>,
}

impl Tally {
    /// How many cards are in the area.
    pub(super) fn count(&mut self, area: u32, names: &Names, occupancy: &Occupancy) -> i64 {
        let area = self.area(area, names, occupancy);
        (area.count + area.change).max(0)
    }

    /// A card that was in these areas is in those now.
    pub(super) fn moved(&mut self, was: &[u32], is: &[u32], names: &Names, occupancy: &Occupancy) {
        for area in was.iter().filter(|area| !is.contains(area)) {
            self.area(*area, names, occupancy).change -= 1;
        }
        for area in is.iter().filter(|area| !was.contains(area)) {
            self.area(*area, names, occupancy).change += 1;
        }
    }

    /// The part is done: all shards learn what changed.
    pub(super) fn tell(&mut self, names: &Names, occupancy: &Occupancy) {
        for area in self.read.drain(..) {
            let Count { change, .. } = std::mem::take(&mut self.counts[area as usize]);
            if let Some(name) = names.name(area).filter(|_| change != 0) {
                occupancy.moved(name, change);
            }
        }
    }

    fn area(&mut self, area: u32, names: &Names, occupancy: &Occupancy) -> &mut Count {
        let at = area as usize;
        if self.counts.len() <= at {
            self.counts
                .resize(names.len().max(at + 1), Count::default());
        }
        let count = &mut self.counts[at];
        if !count.is_read {
            self.read.push(area);
            *count = Count {
                is_read: true,
                count: names.name(area).map_or(0, |name| occupancy.count(name)),
                change: 0,
            };
        }
        count
    }
}
