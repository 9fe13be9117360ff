//! Who listens to live balances: so many at once, and so many of one client, so that nobody takes every place.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::ServerConfig;

/// The places there are.
#[derive(Debug)]
pub(super) struct Subscribers {
    places: Arc<Semaphore>,
    of_one_client: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    subscribers: Arc<Subscribers>,
    client: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    Everywhere,
    /// This client has as many as one may have.
    ForYou,
}

impl Subscribers {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.max_subscribers)),
            of_one_client: config.max_subscribers_per_client,
            taken: Mutex::default(),
        }
    }

    /// Takes a place for a client, if its address is known.
    pub(super) fn admit(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Place, Full> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Full::Everywhere)?;
        if let Some(client) = client {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = taken.entry(client).or_default();
            if *mine >= self.of_one_client {
                return Err(Full::ForYou);
            }
            *mine += 1;
        }
        Ok(Place { subscribers: Arc::clone(self), client, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut taken = self.subscribers.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = taken.get_mut(&client) {
            *mine -= 1;
            if *mine == 0 {
                taken.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_client_never_takes_every_place() {
        let config = ServerConfig { max_subscribers: 3, max_subscribers_per_client: 2, ..ServerConfig::default() };
        let subscribers = Arc::new(Subscribers::new(&config));
        let (one, other) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let first = subscribers.admit(one).unwrap();
        let _second = subscribers.admit(one).unwrap();
        assert_eq!(subscribers.admit(one).err(), Some(Full::ForYou));
        let third = subscribers.admit(other).unwrap();
        assert_eq!(subscribers.admit(None).err(), Some(Full::Everywhere));
        drop(third);
        assert_eq!(subscribers.admit(one).err(), Some(Full::ForYou), "a refusal keeps no place");
        drop(first);
        assert!(subscribers.admit(one).is_ok());
    }
}
