//! A command that waits for its asker's yes is taken once, by its asker, in time, on either database.

use jiff::Timestamp;
use nightbell::desk::Command;
use nightbell::store::Taken;

use crate::support::database::databases;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

#[tokio::test]
async fn only_its_asker_takes_a_command_and_only_once() {
    for db in databases().await {
        let store = &db.store;
        let stop = Command::MonitoringStop;
        let id = store
            .keep_command("U1", &stop, at(60), at(0))
            .await
            .expect("kept");
        let kept: Option<Command> = store.kept_command(&id).await.expect("read");
        assert_eq!(kept, Some(stop.clone()), "reading does not take");
        let taken: Taken<Command> = store.take_command(&id, "U2", at(1)).await.expect("asked");
        assert_eq!(taken, Taken::NotYours);
        let taken = store.take_command(&id, "U1", at(59)).await.expect("asked");
        assert_eq!(taken, Taken::Yours(stop));
        for (who, verdict) in [("U1", Taken::Already), ("U2", Taken::NotYours)] {
            let taken: Taken<Command> = store.take_command(&id, who, at(59)).await.expect("asked");
            assert_eq!(taken, verdict, "{who}");
        }
        let kept: Option<Command> = store.kept_command(&id).await.expect("read");
        assert_eq!(kept, None, "what is taken does not wait any more");
        let taken: Taken<Command> = store
            .take_command("nonsense", "U1", at(59))
            .await
            .expect("asked");
        assert_eq!(taken, Taken::Unknown);
    }
}

#[tokio::test]
async fn a_command_expires_is_explained_for_a_day_and_then_forgotten() {
    for db in databases().await {
        let store = &db.store;
        let keep = |expires, now| store.keep_command("U1", &Command::EmergencyClear, expires, now);
        let id = keep(at(60), at(0)).await.expect("kept");
        let taken: Taken<Command> = store.take_command(&id, "U1", at(60)).await.expect("asked");
        assert_eq!(taken, Taken::Expired);
        let day = 86_400;
        for (second, verdict) in [
            (60 + day, Taken::Expired),
            (61 + day, Taken::<Command>::Unknown),
        ] {
            keep(at(second + 60), at(second)).await.expect("kept");
            let taken = store.take_command(&id, "U1", at(second)).await;
            assert_eq!(taken.expect("asked"), verdict, "{second}");
        }
    }
}

#[tokio::test]
async fn of_many_confirmations_at_once_one_counts() {
    for db in databases().await {
        let store = &db.store;
        let id = store
            .keep_command("U1", &Command::MonitoringStop, at(60), at(0))
            .await
            .expect("kept");
        let clicks = (0..20).map(|_| store.take_command::<Command>(&id, "U1", at(1)));
        let taken = futures_util::future::join_all(clicks).await;
        let counted = taken
            .into_iter()
            .filter(|taken| matches!(taken, Ok(Taken::Yours(_))));
        assert_eq!(counted.count(), 1);
    }
}
