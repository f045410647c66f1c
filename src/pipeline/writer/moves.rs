//! Where cards are: looked up, and stored when they moved.

use std::sync::Arc;

use tokio::time::sleep;

use super::{Alike, Attempt, Fenced, MOVE_BYTES, Writer, side_by_side};
use crate::{
    model::presence::{Move, Presence},
    ports::{DecisionTable, EventStream},
};

impl<E: EventStream, T: DecisionTable> Writer<E, T> {
    /// Where these cards are in these groups of areas, in their order. Without a table nothing is known.
    pub async fn presences(
        &self,
        asked: &[(Box<str>, Arc<str>)],
    ) -> Result<Vec<Option<Presence>>, Fenced> {
        let Some(table) = &self.sinks.table else {
            return Ok(vec![None; asked.len()]);
        };
        let mut looks = Vec::new();
        for part in asked.chunks(self.limits.table_gets) {
            looks.push(async {
                let mut attempt = Attempt::new();
                loop {
                    match self.guarded(table.presences(part)).await? {
                        Ok(found) => return Ok(found),
                        Err(fault) => sleep(attempt.fault(&fault)).await,
                    }
                }
            });
        }
        let found = side_by_side(self.limits.table_in_flight, looks).await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn put_presences(
        &self,
        sink: &Arc<T>,
        moves: impl Iterator<Item = Move<'_>>,
    ) -> Result<(), Fenced> {
        let moves: Vec<Move<'_>> = moves.collect();
        let mut writes = Vec::new();
        for part in moves.chunks(self.limits.table_moves) {
            // A transaction is stored as a whole: one entry.
            let size = Alike(part.len() * MOVE_BYTES);
            writes.push(async move {
                let send = |go: Vec<usize>| async move {
                    let reply = sink.put_presences(part).await;
                    (go, reply.map(|()| Vec::new()))
                };
                self.put_batch(&self.sinks.flow.table, &size, 0..1, send)
                    .await
            });
        }
        side_by_side(self.limits.table_in_flight, writes).await?;
        Ok(())
    }
}
