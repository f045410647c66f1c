//! The values a label may have, as closed enums.

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value; the index is `value as usize`.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The label.
            pub const fn as_label(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

labels! {
    /// Where pages are written.
    Sink {
        /// The decision stream.
        DecisionStream = "decision_stream",
        /// The decision table.
        DecisionTable = "decision_table",
        /// The dead-letter stream.
        RejectStream = "reject_stream",
    }
}

labels! {
    /// Where the time of a page goes, and what makes it wait.
    Stage {
        /// From the end of a page to the next one: nothing to do, or reading is what takes the time.
        Read = "read",
        /// From the beginning of a part to its first write, with what is looked up on the way.
        Judge = "judge",
        /// The decision table.
        WriteTable = "write_table",
        /// The decision stream.
        WriteStream = "write_stream",
        /// A request waits until fewer bytes are under way.
        Budget = "budget",
        /// A request waits because its sink refused something.
        Throttled = "throttled",
    }
}

labels! {
    /// What happened to a lease.
    LeaseEvent {
        /// Its row was made.
        Created = "created",
        /// An orphan was taken.
        Taken = "taken",
        /// It was handed to another worker.
        Given = "given",
        /// Another worker handed it over.
        Received = "received",
        /// It was left without an owner, at a drain.
        Released = "released",
        /// This worker stopped by itself because its heartbeat was late.
        Fenced = "fenced",
        /// A write showed that another worker has it.
        Lost = "lost",
        /// Its shard ended.
        Ended = "ended",
    }
}

labels! {
    /// How a write of a checkpoint ended.
    CheckpointOutcome {
        /// It is in the table.
        Stored = "stored",
        /// The lease is another worker's.
        Refused = "refused",
        /// The call failed; it is sent again.
        Failed = "failed",
    }
}

labels! {
    /// Where a lease stands.
    LeaseState {
        /// This worker has it.
        Held = "held",
        /// Another living worker has it.
        Elsewhere = "elsewhere",
        /// Nobody alive has it.
        Orphaned = "orphaned",
        /// Its shard is read to the end.
        Ended = "ended",
        /// Its shard's parents are not read to the end.
        Waiting = "waiting",
    }
}

labels! {
    /// What a change of the access table did to the cache.
    ChangeEffect {
        /// The entity is new or different.
        Applied = "applied",
        /// The entity is gone.
        Removed = "removed",
        /// Older than what is known: dropped.
        Stale = "stale",
        /// The item cannot be read: the entity counts as absent.
        Malformed = "malformed",
        /// An item of a key that means nothing here.
        Ignored = "ignored",
    }
}

labels! {
    /// What an item of the access table describes.
    AccessEntity {
        /// A card.
        Card = "card",
        /// An access point.
        AccessPoint = "access_point",
        /// An area.
        Area = "area",
        /// A site.
        Site = "site",
        /// An access profile.
        Profile = "profile",
        /// A schedule.
        Schedule = "schedule",
        /// A day of a calendar.
        Calendar = "calendar",
        /// A device.
        Device = "device",
    }
}

labels! {
    /// What made a fresh scan necessary.
    RebuildReason {
        /// The start of the daemon.
        Start = "start",
        /// The stream no longer keeps what comes next.
        Trimmed = "trimmed",
        /// An iterator expired and cannot be resumed.
        IteratorExpired = "iterator_expired",
        /// A shard of the stream disappeared before it was read to its end.
        LostShard = "lost_shard",
    }
}

labels! {
    /// How a shard is read.
    Way {
        /// GetRecords.
        Polling = "polling",
        /// SubscribeToShard.
        FanOut = "fan_out",
    }
}

labels! {
    /// Why a subscription ended.
    SubscriptionEnd {
        /// It was renewed before its five minutes were over.
        Renewed = "renewed",
        /// The service ended it.
        ByService = "by_service",
        /// The connection broke, or the service reported an error in it.
        Cut = "cut",
        /// Nothing came for too long.
        Silent = "silent",
        /// There was no room for its events for too long.
        NoRoom = "no_room",
        /// The reader stopped: the lease goes to another worker, or the shard ended.
        Stopped = "stopped",
    }
}
