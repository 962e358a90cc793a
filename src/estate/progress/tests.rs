//! Lines of real trainers, and what is made of them over time.

#![allow(clippy::float_cmp, reason = "what was written is read as it stands")]

use jiff::{SignedDuration, Timestamp};

use super::marker::{Kind, read};
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn of(line: &str, kind: Kind) -> Option<(f64, Option<f64>)> {
    read(line)
        .into_iter()
        .find(|marker| marker.kind == kind)
        .map(|marker| (marker.value, marker.total))
}

#[test]
fn trainers_tell_their_steps_in_many_ways() {
    for (line, step, total) in [
        (
            " 45%|████▌     | 450/1000 [03:20<04:05,  2.24it/s]",
            450.0,
            Some(1000.0),
        ),
        (
            "Epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 35.91it/s, v_num=0, train_loss=0.131]",
            450.0,
            Some(1000.0),
        ),
        (
            "Epoch 0: :   1%|          | 100/10000 [02:10<3:34:10, v_num=0, reduced_train_loss=7.1, global_step=99.0]",
            100.0,
            Some(10000.0),
        ),
        ("450it [03:20,  2.24it/s]", 450.0, None),
        (
            "  0%|          | 0/10 [00:00<?, ?it/s]\r 10%|█         | 1/10 [00:01<00:09,  1.02s/it]",
            1.0,
            Some(10.0),
        ),
        (
            "Epoch 3/9  ━━━━━━━━━━━━ 450/1000 0:00:12 • 0:00:15 35.90it/s v_num: 0.000",
            450.0,
            Some(1000.0),
        ),
        (
            " iteration      100/    5000 | consumed samples:        25600 | elapsed time per iteration (ms): 1234.5 | learning rate: 1.5E-04 | lm loss: 6.78E+00 | loss scale: 1.0 |",
            100.0,
            Some(5000.0),
        ),
        (
            "[2026-11-22 02:01:11] iteration 1200/ 5000 | elapsed time per iteration (ms): 800 |",
            1200.0,
            Some(5000.0),
        ),
        (
            "[2026-11-22 02:01:11,123] [INFO] [logging.py:96:log_dist] [Rank 0] step=100, skipped=0, lr=[1e-05], mom=[[0.9, 0.95]]",
            100.0,
            None,
        ),
        (
            "steps: 100 loss: 2.3012 iter time (s): 0.512 samples/sec: 250.1",
            100.0,
            None,
        ),
        (
            "[2026-11-22 02:01:11,123] [INFO] [timer.py:199:stop] epoch=0/micro_step=400/global_step=100, RunningAvgSamplesPerSec=30.1, CurrSamplesPerSec=31.2",
            100.0,
            None,
        ),
        (
            "450/1000 [============>.................] - ETA: 12s - loss: 0.3012 - accuracy: 0.91",
            450.0,
            Some(1000.0),
        ),
        (
            "450/1000 ━━━━━━━━━━━━━━━━━━━━ 12s 35ms/step - accuracy: 0.91 - loss: 0.3",
            450.0,
            Some(1000.0),
        ),
        (
            "completed step: 100, seconds: 1.234, TFLOP/s/device: 150.3, Tokens/s/device: 4012.1, total_weights: 65536, loss: 5.401",
            100.0,
            None,
        ),
        (
            "2026-11-22 02:01:11 | INFO | train_inner | epoch 001:    100 / 5000 loss=8.1, nll_loss=7.8, ups=2.1, wpb=3500, num_updates=100, lr=1e-05",
            100.0,
            Some(5000.0),
        ),
        (
            r#"{"epoch": 1, "update": 0.052, "loss": "8.1", "num_updates": "100", "lr": "1e-05"}"#,
            100.0,
            None,
        ),
        (
            "Training epoch 0, iteration 10/999 | lr: 2.999e-07 | global_batch_size: 512 | global_step: 10 | reduced_train_loss: 11.03 | train_step_timing in s: 2.1",
            10.0,
            None,
        ),
        ("step 12 loss 3.91", 12.0, None),
        ("step=1200 loss=2.31 tok/s=512", 1200.0, None),
        ("step: 100/1000", 100.0, Some(1000.0)),
        ("Step 100 of 1000", 100.0, Some(1000.0)),
        ("[step=100/739328,epoch=0]", 100.0, Some(739_328.0)),
        (
            "\u{1b}[31mstep: 10  \u{1b}[32mloss:  8.1011  \u{1b}[33mmemory: 40.2GiB(42.3%)  \u{1b}[34mtps: 5,432  mfu: 10.2%\u{1b}[39m",
            10.0,
            None,
        ),
        (
            "Train Epoch: 3 [25600/60000 (43%)]\tLoss: 0.301224",
            25600.0,
            Some(60000.0),
        ),
        (
            "Epoch: [3][ 450/1000]\tTime  0.201 ( 0.312)\tLoss 2.1e+00",
            450.0,
            Some(1000.0),
        ),
        ("Epoch 3/10 [450/1000] loss 0.3", 450.0, Some(1000.0)),
        (
            r#"{"ts":"2026-11-22T02:00:00Z","level":"info","msg":"train","step":4200,"loss":1.93,"epoch":2}"#,
            4200.0,
            None,
        ),
        ("INFO:root:iter 250, loss 1.2", 250.0, None),
        ("[rank0] step 1,200 | loss 2.1", 1200.0, None),
        ("global step 77: train loss 2.2", 77.0, None),
        (
            "I1122 02:01:11.123456 12345 train.py:88] Step: 900, loss: 0.1",
            900.0,
            None,
        ),
        ("iter=100 time=0.2", 100.0, None),
    ] {
        assert_eq!(
            of(line, Kind::Step),
            Some((step, total)),
            "{line}: {:?}",
            read(line)
        );
    }
}

#[test]
fn epochs_losses_and_rates_are_read_beside_the_steps() {
    for (line, kind, value) in [
        (
            "{'loss': 1.2345, 'grad_norm': 0.53, 'learning_rate': 5e-05, 'epoch': 1.23}",
            Kind::Loss,
            1.2345,
        ),
        (
            "{'loss': 1.2345, 'grad_norm': 0.53, 'learning_rate': 5e-05, 'epoch': 1.23}",
            Kind::Epoch,
            1.23,
        ),
        ("Epoch 3/10", Kind::Epoch, 3.0),
        (
            "Epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 35.91it/s, v_num=0, train_loss=0.131]",
            Kind::Epoch,
            3.0,
        ),
        (
            "Epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 35.91it/s, v_num=0, train_loss=0.131]",
            Kind::Loss,
            0.131,
        ),
        (
            "Epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 35.91it/s]",
            Kind::StepsPerSecond,
            35.91,
        ),
        (
            " 10%|█         | 1/10 [00:02<00:18,  2.00s/it]",
            Kind::StepsPerSecond,
            0.5,
        ),
        (
            " iteration 100/ 5000 | elapsed time per iteration (ms): 500.0 | lm loss: 6.78E+00 |",
            Kind::StepsPerSecond,
            2.0,
        ),
        (
            " iteration 100/ 5000 | elapsed time per iteration (ms): 500.0 | lm loss: 6.78E+00 |",
            Kind::Loss,
            6.78,
        ),
        (
            "completed step: 100, seconds: 1.234, TFLOP/s/device: 150.3, Tokens/s/device: 4012.1, loss: 5.4",
            Kind::TokensPerSecond,
            4012.1,
        ),
        (
            "Avg prompt throughput: 100.0 tokens/s, Avg generation throughput: 300.5 tokens/s, Running: 5 reqs",
            Kind::TokensPerSecond,
            300.5,
        ),
        (
            "step: 10  loss:  8.1011  memory: 40.2GiB(42.3%)  tps: 5,432",
            Kind::TokensPerSecond,
            5432.0,
        ),
        (
            "steps: 100 loss: 2.3012 iter time (s): 0.512 samples/sec: 250.1",
            Kind::SamplesPerSecond,
            250.1,
        ),
        (
            "Downloading shards:  45%|████▌     | 5/11 [03:20<04:05, 20.2s/it]",
            Kind::Bar,
            5.0,
        ),
        (
            "model.safetensors:  45%|████▌     | 450M/1.00G [00:20<00:25, 22.1MB/s]",
            Kind::Bar,
            450.0,
        ),
        (
            "Validation DataLoader 0:  45%|████▌     | 45/100 [00:02<00:02, 20.1it/s]",
            Kind::Bar,
            45.0,
        ),
    ] {
        assert_eq!(
            of(line, kind).map(|found| found.0),
            Some(value),
            "{line}: {:?}",
            read(line)
        );
    }
}

#[test]
fn saving_a_checkpoint_is_told_from_speaking_of_it() {
    let kinds = |line: &str| -> Vec<Kind> {
        let kinds = read(line).into_iter().map(|marker| marker.kind);
        kinds
            .filter(|kind| {
                matches!(
                    kind,
                    Kind::CheckpointSaved
                        | Kind::CheckpointBegun
                        | Kind::CheckpointFailed
                        | Kind::EvaluationBegun
                )
            })
            .collect()
    };
    for line in [
        "  successfully saved checkpoint from iteration    1000 to /ckpt [ t 1/1, p 1/1 ]",
        "[INFO] [engine.py:3128] [Torch] Checkpoint global_step1000 is ready now!",
        "Saved checkpoint at step 500 to s3://bucket/run/step500",
        "Checkpoint saved: /mnt/ckpt/last.pt (12.4 s)",
        "Finished saving the checkpoint (or staging if async is enabled) in 3.20 seconds.",
        "Model weights saved in out/checkpoint-500/model.safetensors",
        "Wrote checkpoint step_2000",
    ] {
        assert_eq!(kinds(line), [Kind::CheckpointSaved], "{line}");
    }
    for line in [
        "saving checkpoint at iteration    1000 to /ckpt in torch_dist format",
        "Saving model checkpoint to out/checkpoint-500",
        "Epoch 3, global step 500: 'val_loss' reached 0.2 (best 0.2), saving model to '/ckpt/e3.ckpt' as top 1",
        "Saving a full checkpoint at step 100",
    ] {
        assert_eq!(kinds(line), [Kind::CheckpointBegun], "{line}");
    }
    for line in [
        "Failed to save checkpoint: OSError: [Errno 28] No space left on device",
        "checkpoint write failed at step 100",
    ] {
        assert_eq!(kinds(line), [Kind::CheckpointFailed], "{line}");
    }
    for line in [
        "***** Running Evaluation *****",
        "Starting validation loop",
        "Evaluating on 1200 samples",
    ] {
        assert_eq!(kinds(line), [Kind::EvaluationBegun], "{line}");
    }
    for line in [
        "Checkpoints will be saved every 500 steps to /ckpt",
        "save_steps = 500",
        "Loaded checkpoint from /ckpt/step500",
        "Resuming training from checkpoint out/checkpoint-500",
        "No checkpoint found, training from scratch",
        "Deleting older checkpoint [out/checkpoint-100]",
        "activation checkpointing enabled",
    ] {
        assert_eq!(kinds(line), [], "{line}");
    }
}

#[test]
fn ordinary_lines_say_nothing_of_progress() {
    for line in [
        "",
        "INFO: 10.0.0.1:51234 - \"GET /health HTTP/1.1\" 200 OK",
        "NCCL INFO Channel 00/02 : 0 1 2 3",
        "the next steps 3 are described in the manual",
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB",
        "torch.Size([4096, 1024])",
        "2026-11-22 02:01:11,123 INFO waiting for data",
        "timestep embedding 128",
    ] {
        assert_eq!(of(line, Kind::Step), None, "{line}: {:?}", read(line));
        assert_eq!(of(line, Kind::Epoch), None, "{line}");
    }
}

#[test]
fn a_repeated_line_is_no_progress_and_a_new_value_is() {
    let mut pod = PodProgress::default();
    pod.take(Some(at(0)), "step 1 loss 3.0");
    pod.take(Some(at(10)), "step 2 loss 2.9");
    pod.take(Some(at(20)), "step 2 loss 2.9");
    pod.take(Some(at(30)), "still waiting for the other ranks");
    assert_eq!(pod.last_progress, Some(at(10)));
    assert_eq!(pod.last_line, Some(at(30)));
    assert_eq!(pod.longest_pause, SignedDuration::from_secs(10));
    pod.take(Some(at(5)), "step 99");
    assert_eq!(pod.furthest().unwrap().step, 2.0, "older lines are known");
}

#[test]
fn a_save_that_was_followed_by_steps_has_ended() {
    let mut pod = PodProgress::default();
    pod.take(Some(at(0)), "step 1 loss 3.0");
    pod.take(Some(at(10)), "Saving model checkpoint to out/checkpoint-1");
    assert_eq!((pod.saving, pod.checkpoints.len()), (Some(at(10)), 0));
    pod.take(Some(at(90)), "step 2 loss 2.0");
    assert_eq!(pod.saving, None);
    assert_eq!(pod.checkpoints, [at(10)]);
    pod.take(Some(at(100)), "Saving model checkpoint to out/checkpoint-2");
    pod.take(
        Some(at(101)),
        "OSError: failed to write checkpoint: Disk quota exceeded",
    );
    pod.take(Some(at(110)), "step 3 loss 1.9");
    assert_eq!(pod.checkpoints, [at(10)], "a failed save is none");
}

#[test]
fn memory_of_a_long_run_stays_small_and_spans_it() {
    let mut pod = PodProgress::default();
    for step in 0..100_000 {
        pod.take(Some(at(step)), &format!("step {step}"));
    }
    assert!(pod.points.len() <= POINTS);
    assert_eq!(pod.furthest().unwrap().step, 99_999.0);
    assert!(pod.points.front().unwrap().at < at(95_000));
}

#[test]
fn a_slowdown_shows_in_the_rates() {
    let mut pod = PodProgress::default();
    let mut now = 0;
    for step in 0..60 {
        now += if step < 40 { 10 } else { 50 };
        pod.take(Some(at(now)), &format!("step {step}"));
    }
    let (before, lately) = pod.rates(SignedDuration::from_secs(900)).unwrap();
    assert!(
        (before - 0.1).abs() < 1e-9 && (lately - 0.02).abs() < 1e-9,
        "{before} {lately}"
    );
}

#[test]
fn a_new_attempt_is_compared_with_the_one_before() {
    let mut progress = Progress::default();
    progress
        .pod("train-0", "a", None)
        .take(Some(at(0)), "step 500");
    progress
        .pod("train-0", "b", None)
        .take(Some(at(100)), "step 500");
    assert_eq!(progress.advanced(), Some(false));
    progress
        .pod("train-0", "b", None)
        .take(Some(at(110)), "step 501");
    assert_eq!(progress.advanced(), Some(true));
    progress.keep(|_| false);
    assert_eq!(progress.before.unwrap().step, 501.0);
}

#[test]
fn the_same_step_of_a_later_epoch_is_further() {
    let mut pod = PodProgress::default();
    pod.take(
        Some(at(0)),
        "Epoch 1:  90%|█████████ | 900/1000 [01:00<00:06, 15.0it/s]",
    );
    pod.take(
        Some(at(60)),
        "Epoch 2:   1%|          | 10/1000 [00:01<01:06, 15.0it/s]",
    );
    let far = pod.furthest().unwrap();
    assert_eq!((far.epoch, far.step), (Some(2.0), 10.0));
    assert_eq!(far.to_string(), "step 10 of 1000 of epoch 2");
}
