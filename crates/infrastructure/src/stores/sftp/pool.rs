//! The connections to a server: a few, made when they are needed, each used by many.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloakroom_application::ports::StoreError;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use super::{
    connection::{Connection, Login},
    failure::Unconnected,
};

/// Connections at once, at most.
const MOST: usize = 4;

/// Users of a connection that another one is made for.
const MANY: usize = 8;

type Connecting = Shared<BoxFuture<'static, Result<Arc<Connection>, Unconnected>>>;

pub(super) struct Pool {
    login: Login,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Vec<Arc<Connection>>,
    /// One at a time, whoever waits for it.
    connecting: Option<Connecting>,
}

impl Pool {
    pub(super) fn new(login: Login) -> Arc<Self> {
        Arc::new(Self {
            login,
            state: Mutex::default(),
        })
    }

    /// A connection, the one that the fewest use. Waits for one to be made if there is none.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Arc<Connection>, StoreError> {
        let connecting = {
            let mut state = self.state();
            state.open.retain(|connection| !connection.is_lost());
            let load = |it: &&Arc<Connection>| (it.is_slow(), Arc::strong_count(it));
            if let Some(least) = state.open.iter().min_by_key(load).cloned() {
                // The pool has it, and so have we by now.
                let is_busy = least.is_slow() || Arc::strong_count(&least) > MANY + 2;
                if is_busy && state.open.len() < MOST {
                    drop(self.connect(&mut state));
                }
                return Ok(least);
            }
            self.connect(&mut state)
        };
        Ok(connecting.await?)
    }

    /// Makes another connection, unless one is being made, in a task that goes on when nobody waits any more.
    fn connect(self: &Arc<Self>, state: &mut State) -> Connecting {
        let this = Arc::clone(self);
        let connect = || {
            let made = tokio::spawn(async move {
                let made = Connection::open(&this.login).await.map(Arc::new);
                let mut state = this.state();
                state.connecting = None;
                state.open.extend(made.iter().cloned());
                made
            });
            let made = made.map(|made| match made {
                Ok(made) => made,
                Err(_) => Err(Unconnected::Unavailable("connecting was broken off")),
            });
            made.boxed().shared()
        };
        // A task that died could not say so itself.
        let is_over = |connecting: &Connecting| connecting.peek().is_some();
        if state.connecting.as_ref().is_none_or(is_over) {
            state.connecting = None;
        }
        state.connecting.get_or_insert_with(connect).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
