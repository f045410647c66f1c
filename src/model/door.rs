//! Doors and what belongs to them: access points, areas, devices. An access point is one direction of one door.
//!
//! What an item does not say takes the safe reading: a door is secure, its way out is checked, and it does not
//! open by old data. Ids stay text here; `access::rulebook` turns them into numbers.

use super::swipe::Direction;

/// How a door stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Posture {
    /// Opens to those who may.
    #[default]
    Secure,
    /// Stands open for everybody.
    Unlocked,
    /// Opens only to cards exempt from lockdown.
    Lockdown,
    /// Out of service.
    Disabled,
}

impl Posture {
    /// The posture of that word in the access table, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "secure" => Self::Secure,
            "unlocked" => Self::Unlocked,
            "lockdown" => Self::Lockdown,
            "disabled" => Self::Disabled,
            _ => return None,
        })
    }
}

/// What a way out asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Egress {
    /// Nothing: whoever wants out gets out.
    AlwaysAllow,
    /// The same as a way in.
    #[default]
    Checked,
}

impl Egress {
    /// The word in the access table, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "always_allow" => Self::AlwaysAllow,
            "checked" => Self::Checked,
            _ => return None,
        })
    }
}

/// What a door does while the card cache is missing or too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Degraded {
    /// Stays shut.
    #[default]
    Deny,
    /// Answers by what was last known.
    LastKnown,
}

impl Degraded {
    /// The word in the access table, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "deny" => Self::Deny,
            "last_known" => Self::LastKnown,
            _ => return None,
        })
    }
}

/// One direction of one door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPoint {
    /// The site it stands on: gives it its time zone, its holidays and its lockdown.
    pub site: Option<Box<str>>,
    /// The area it leads from.
    pub area_from: Option<Box<str>>,
    /// The area it leads to.
    pub area_to: Option<Box<str>>,
    /// Which way it lets people pass.
    pub direction: Direction,
    /// How it stands.
    pub posture: Posture,
    /// What it asks of those who leave.
    pub egress: Egress,
    /// What it does without fresh data.
    pub degraded: Degraded,
    /// The authority a card needs here; 0 asks for none.
    pub threat_level: u8,
}

/// What happens to a card that enters where it already is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PassbackMode {
    /// Nothing.
    #[default]
    Off,
    /// It is granted, with a flag.
    Soft,
    /// It is denied.
    Hard,
}

impl PassbackMode {
    /// The mode of that word in the access table, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "off" => Self::Off,
            "soft" => Self::Soft,
            "hard" => Self::Hard,
            _ => return None,
        })
    }
}

/// A space that access points lead from and to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// The area that it lies within, so that whoever is here is there too.
    pub parent: Option<Box<str>>,
    /// The site it belongs to.
    pub site: Option<Box<str>>,
    /// Areas whose presence and occupancy are judged together.
    pub group: Option<Box<str>>,
    /// What happens to a card that enters twice.
    pub passback: PassbackMode,
    /// After how many minutes presence is forgotten; 0 is never.
    pub passback_timeout_min: u32,
    /// How many may be inside; 0 is any number.
    pub occupancy_upper: u32,
    /// Whether to keep a list of who is inside although no rule asks for it.
    pub muster: bool,
}

/// A reader or gate controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whether its reports count.
    pub active: bool,
    /// The access points it may report; none when the item lists none.
    pub access_points: Box<[Box<str>]>,
}
