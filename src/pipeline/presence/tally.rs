//! How many cards are in the areas of one part of a page, counted here and given to all shards at its end: a limit is asked about
//! at every swipe, and the shared count costs more than the few areas of a part.

use std::sync::Arc;

use crate::pipeline::occupancy::Occupancy;

/// One area: how many there were when it was first asked about, and what changed here since.
#[derive(Debug)]
struct Area {
    id: Arc<str>,
    count: i64,
    change: i64,
}

/// The areas of a part.
#[derive(Debug, Default)]
pub(super) struct Tally(Vec<Area>);

impl Tally {
    /// How many cards are in the area.
    pub(super) fn count(&mut self, id: &Arc<str>, occupancy: &Occupancy) -> i64 {
        let area = self.area(id, occupancy);
        (area.count + area.change).max(0)
    }

    /// A card that was in these areas is in those now.
    pub(super) fn moved(&mut self, was: &[Arc<str>], is: &[Arc<str>], occupancy: &Occupancy) {
        for area in was.iter().filter(|area| !is.contains(area)) {
            self.area(area, occupancy).change -= 1;
        }
        for area in is.iter().filter(|area| !was.contains(area)) {
            self.area(area, occupancy).change += 1;
        }
    }

    /// The part is done: all shards learn what changed.
    pub(super) fn tell(&mut self, occupancy: &Occupancy) {
        for area in self.0.drain(..).filter(|area| area.change != 0) {
            occupancy.moved(&area.id, area.change);
        }
    }

    fn area(&mut self, id: &Arc<str>, occupancy: &Occupancy) -> &mut Area {
        // The names come from one rulebook, so that the same name is nearly always at the same place; comparing the
        // letters of each area would be half the price of a move.
        let same = self.0.iter().position(|area| Arc::ptr_eq(&area.id, id));
        let known = same.or_else(|| self.0.iter().position(|area| area.id == *id));
        let at = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push(Area {
                id: Arc::clone(id),
                count: occupancy.count(id),
                change: 0,
            });
        }
        &mut self.0[at]
    }
}
