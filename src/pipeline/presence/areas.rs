//! The areas of the rulebook, and the groups they form, by numbers that stay the same from one rulebook to the next: what is
//! remembered of a million cards is then a few integers each, and comparing areas compares those.
//!
//! A name keeps its number for as long as anything is remembered, whatever the rulebook says of it meanwhile. The areas are
//! written anew for each edition of the rulebook.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::{
    access::rulebook::{AreaRules, Edition, Passage, Point, Rulebook},
    model::{door::PassbackMode, presence::Place},
};

/// The number of the place outside of all areas of a group.
pub(super) const OUTSIDE: u32 = 0;

/// Names of areas and groups by number, and the other way round.
#[derive(Debug)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    /// By number; a group is here as if it were an area.
    places: Vec<Place>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            numbers: HashMap::default(),
            places: vec![Place::Outside],
        }
    }
}

impl Names {
    /// The number of that name, from now on.
    pub(super) fn number(&mut self, name: &Arc<str>) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.numbers.insert(Arc::clone(name), number);
        self.places.push(Place::Inside(Arc::clone(name)));
        number
    }

    /// The number of that place, from now on.
    pub(super) fn place_number(&mut self, place: &Place) -> u32 {
        match place {
            Place::Inside(area) => self.number(area),
            Place::Outside => OUTSIDE,
        }
    }

    /// The place of that number.
    pub(super) fn place(&self, number: u32) -> Option<&Place> {
        self.places.get(number as usize)
    }

    /// The name of that number.
    pub(super) fn name(&self, number: u32) -> Option<&Arc<str>> {
        match self.place(number)? {
            Place::Inside(name) => Some(name),
            Place::Outside => None,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

/// An area, with every name as a number; see [`AreaRules`].
#[derive(Debug)]
pub(super) struct Area {
    pub(super) id: u32,
    pub(super) group: u32,
    pub(super) within: Box<[u32]>,
    pub(super) family: Box<[u32]>,
    pub(super) passback: PassbackMode,
    pub(super) passback_timeout_ms: i64,
    pub(super) occupancy_upper: i64,
    pub(super) is_counted: bool,
}

impl Area {
    fn new(rules: &AreaRules, names: &mut Names) -> Self {
        let mut numbers = |all: &[Arc<str>]| all.iter().map(|name| names.number(name)).collect();
        Self {
            within: numbers(rules.within()),
            family: numbers(rules.family()),
            id: names.number(&rules.id),
            group: names.number(&rules.group),
            passback: rules.passback,
            passback_timeout_ms: rules.passback_timeout_ms,
            occupancy_upper: i64::from(rules.occupancy_upper),
            is_counted: rules.is_counted,
        }
    }

    /// Whether who is in this area is in `other`, too.
    pub(super) fn is_within(&self, other: u32) -> bool {
        self.within.contains(&other)
    }
}

/// The areas of one edition of the rulebook.
#[derive(Debug, Default)]
pub(super) struct Areas {
    edition: Option<Edition>,
    /// As the rulebook numbers them.
    by_book: Vec<Option<Area>>,
    /// The rulebook's numbers, by the number of the name.
    by_name: Vec<Option<u32>>,
}

impl Areas {
    /// Goes on with `book`.
    pub(super) fn follow(&mut self, book: &Rulebook, names: &mut Names) {
        if self.edition.as_ref() != Some(book.edition()) {
            self.read(book, names);
        }
    }

    #[cold]
    fn read(&mut self, book: &Rulebook, names: &mut Names) {
        let areas = book.numbered_areas().iter();
        let areas = areas.map(|area| area.as_ref().map(|area| Area::new(area, names)));
        self.by_book = areas.collect();
        self.by_name = vec![None; names.len()];
        for (number, area) in (0..).zip(&self.by_book) {
            if let Some(area) = area {
                self.by_name[area.id as usize] = Some(number);
            }
        }
        self.edition = Some(book.edition().clone());
    }

    /// How many numbers the rulebook has given to areas.
    pub(super) fn len(&self) -> usize {
        self.by_book.len()
    }

    /// Where the access point leads.
    pub(super) fn passage(&self, point: &Point) -> Passage<'_, Area> {
        let area = |number: Option<u32>| self.by_book.get(number? as usize)?.as_ref();
        Passage {
            from: area(point.area_from),
            to: area(point.area_to),
        }
    }

    /// The area of that name, when the rulebook remembers who is inside.
    pub(super) fn named(&self, name: u32) -> Option<&Area> {
        let number = *self.by_name.get(name as usize)?;
        self.by_book.get(number? as usize)?.as_ref()
    }
}
