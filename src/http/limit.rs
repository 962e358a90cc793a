//! No client may ask more often than a busy page and a script together would.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Shared;
use super::access::Caller;
use super::problem::Problem;

const PER_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("fifty is not zero");
const BURST: NonZeroU32 = NonZeroU32::new(200).expect("two hundred is not zero");
/// Clients remembered before those that have been quiet are forgotten.
const CLIENTS: usize = 1_000;

type Step = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The middleware: counts by caller, so that it belongs behind [`super::access::admit`].
pub(super) fn per_client()
-> impl Fn(State<Shared>, Extension<Caller>, Request, Next) -> Step + Clone + Send + Sync + 'static
{
    let limiter: Arc<DefaultKeyedRateLimiter<String>> = Arc::new(RateLimiter::keyed(
        Quota::per_second(PER_SECOND).allow_burst(BURST),
    ));
    move |_: State<Shared>, Extension(caller): Extension<Caller>, request: Request, next: Next| {
        let limiter = Arc::clone(&limiter);
        Box::pin(async move {
            if limiter.len() > CLIENTS {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
            match limiter.check_key(&caller.principal.user) {
                Ok(()) => next.run(request).await,
                Err(early) => {
                    let wait = early.wait_time_from(DefaultClock::default().now());
                    Problem::too_many(wait.as_secs() + 1).into_response()
                }
            }
        })
    }
}
