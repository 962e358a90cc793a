//! What the containers of the simulated jobs write: progress, noise that is not a cause, and the failures.

use super::script::ProgressLine;

/// The next lines of progress; `n` counts from 1.
pub(super) fn progress(line: ProgressLine, rank: u32, n: u32) -> Vec<String> {
    match line {
        ProgressLine::Training => {
            let step = n * 10;
            let loss = 2.1 + 6.0 / f64::from(n + 2);
            vec![format!(
                "[rank{rank}] step {step:>6} | loss {loss:.4} | grad_norm 0.{:03} | lr 2.97e-04 | 18.4k tok/s | 41.2% MFU",
                300 + (n * 37) % 600
            )]
        }
        ProgressLine::Serving => vec![format!(
            "INFO 10.244.0.1:{} - \"POST /v1/completions HTTP/1.1\" 200 OK",
            40_000 + (n * 7919) % 20_000
        )],
        ProgressLine::Notebook => vec![format!(
            "[I ServerApp] Saving file at /home/jovyan/explore-{}.ipynb",
            1 + n % 4
        )],
    }
}

/// How a distributed training begins, with the usual warnings that mean nothing.
pub(super) fn gang_start(rank: u32, world: u32) -> Vec<String> {
    vec![
        format!(
            "W1121 torch/distributed/run.py:774] Setting OMP_NUM_THREADS environment variable for each process to be 1 in default"
        ),
        format!("[rank{rank}] init_process_group backend=nccl world_size={world}"),
        format!(
            "[rank{rank}] NCCL INFO Bootstrap : Using eth0:10.244.3.{}<0>",
            10 + rank
        ),
        format!(
            "[rank{rank}] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB eth0:10.244.3.{}<0>",
            10 + rank
        ),
        format!("[rank{rank}] NCCL INFO Channel 00/16 : 0 1 2 3 4 5 6 7"),
        format!(
            "[rank{rank}] FutureWarning: torch.cuda.amp.autocast(args...) is deprecated. Please use torch.amp.autocast('cuda', args...) instead."
        ),
        format!("[rank{rank}] loaded shard {rank}/{world} of the dataset, 1284 batches"),
    ]
}

/// Steps with a loss, from `first`, ten apart.
pub(super) fn steps(rank: u32, first: u32, count: u32) -> Vec<String> {
    (0..count)
        .map(|n| {
            let step = first + n * 10;
            format!(
                "[rank{rank}] step {step:>6} | loss {:.4} | lr 2.97e-04 | 18.4k tok/s",
                2.9 - f64::from(n) * 0.011
            )
        })
        .collect()
}

/// The rank whose GPU fell off the bus.
pub(super) fn gpu_lost(rank: u32) -> Vec<String> {
    vec![
        format!("[rank{rank}] step    480 | loss 2.4012 | lr 2.97e-04 | 18.3k tok/s"),
        format!("[rank{rank}]:[E1121 ProcessGroupNCCL.cpp:1896] [PG ID 0 PG GUID 0(default_pg) Rank {rank}] Process group watchdog thread terminated with exception: CUDA error: unknown error"),
        "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.".to_owned(),
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1".to_owned(),
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.".to_owned(),
        format!("[rank{rank}] NCCL WARN Cuda failure 999 'unknown error'"),
        "Traceback (most recent call last):".to_owned(),
        "  File \"/workspace/pretrain.py\", line 412, in <module>".to_owned(),
        "    main()".to_owned(),
        "  File \"/workspace/pretrain.py\", line 388, in main".to_owned(),
        "    loss.backward()".to_owned(),
        "torch.AcceleratorError: CUDA error: unknown error".to_owned(),
    ]
}

/// A rank that waited for the lost one.
pub(super) fn watchdog_timeout(rank: u32) -> Vec<String> {
    vec![
        format!(
            "[rank{rank}]:[E1121 ProcessGroupNCCL.cpp:632] [Rank {rank}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9731, OpType=ALLREDUCE, NumelIn=25559081, NumelOut=25559081, Timeout(ms)=600000) ran for 600043 milliseconds before timing out."
        ),
        format!(
            "[rank{rank}]:[E1121 ProcessGroupNCCL.cpp:684] [Rank {rank}] Some NCCL operations have failed or timed out. Due to the asynchronous nature of CUDA kernels, subsequent GPU operations might run on corrupted/incomplete data."
        ),
        format!(
            "[rank{rank}]:[E1121 ProcessGroupNCCL.cpp:698] [Rank {rank}] To avoid data inconsistency, we are taking the entire process down."
        ),
        "terminate called after throwing an instance of 'c10::DistBackendError'".to_owned(),
    ]
}

/// A single trainer that runs out of GPU memory.
pub(super) fn cuda_oom() -> Vec<String> {
    text(
        "\
Epoch 0:  12%|█▏        | 148/1250 [02:31<18:47,  1.02s/it, loss=2.31]
/opt/conda/lib/python3.12/site-packages/torch/utils/checkpoint.py:86: UserWarning: None of the inputs have requires_grad=True. Gradients will be None
Traceback (most recent call last):
  File \"/workspace/finetune.py\", line 219, in <module>
    trainer.train()
  File \"/opt/conda/lib/python3.12/site-packages/transformers/trainer.py\", line 2206, in train
    return inner_training_loop(
  File \"/workspace/model.py\", line 141, in forward
    attn = torch.softmax(scores, dim=-1)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 4.50 GiB. GPU 0 has a total capacity of 79.25 GiB of which 2.11 GiB is free. Process 1 has 77.13 GiB memory in use. Of the allocated memory 74.02 GiB is allocated by PyTorch, and 2.31 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management
Epoch 0:  12%|█▏        | 148/1250 [02:33<19:01,  1.04s/it, loss=2.31]",
    )
}

/// A data loader that outgrows the container's memory; the kernel kills it without a word of its own.
pub(super) fn host_memory_growth() -> Vec<String> {
    text(
        "\
building vocabulary from 412 shards
DataLoader: 16 workers, prefetch_factor 8, pin_memory True
rss 18.2 GiB after shard 40
rss 33.9 GiB after shard 81
rss 49.6 GiB after shard 122
rss 61.8 GiB after shard 153",
    )
}

/// Workers without enough shared memory.
pub(super) fn shm_bus_error() -> Vec<String> {
    text(
        "\
loading imagenet index: 1281167 images
Epoch [1/90]   0%|          | 0/5004 [00:00<?, ?it/s]
ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).
Traceback (most recent call last):
  File \"/opt/conda/lib/python3.12/site-packages/torch/utils/data/dataloader.py\", line 1263, in _try_get_data
    data = self._data_queue.get(timeout=timeout)
RuntimeError: DataLoader worker (pid 217) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"/workspace/train_resnet.py\", line 173, in <module>
    for images, target in loader:
RuntimeError: DataLoader worker (pid(s) 217) exited unexpectedly",
    )
}

/// An evaluation that finds no checkpoint.
pub(super) fn missing_checkpoint() -> Vec<String> {
    text(
        "\
evaluating demo-bert on squad-v2
loading checkpoint
Traceback (most recent call last):
  File \"/workspace/eval.py\", line 57, in <module>
    state = torch.load(args.checkpoint, map_location=\"cpu\")
  File \"/opt/conda/lib/python3.12/site-packages/torch/serialization.py\", line 1471, in load
    with _open_file_like(f, \"rb\") as opened_file:
FileNotFoundError: [Errno 2] No such file or directory: '/mnt/checkpoints/bert-final.pt'",
    )
}

/// A server whose container lost its GPU devices.
pub(super) fn nvml_unknown_error() -> Vec<String> {
    text(
        "\
INFO vllm engine starting, model demo/llama-3.1-8b-instruct
INFO CUDA graphs enabled, 35 sizes
WARNING: TOKENIZERS_PARALLELISM was not set, using true
ERROR Failed to initialize NVML: Unknown Error
Traceback (most recent call last):
  File \"/opt/venv/lib/python3.12/site-packages/vllm/platforms/cuda.py\", line 54, in wrapper
    pynvml.nvmlInit()
RuntimeError: Failed to initialize NVML: Unknown Error",
    )
}

/// A model that loads for longer than its liveness probe allows.
pub(super) fn slow_model_load() -> Vec<String> {
    text(
        "\
INFO loading model weights: 30 shards, 281 GiB
INFO loading shard 1/30
INFO loading shard 2/30
INFO loading shard 3/30
INFO received SIGTERM, shutting down",
    )
}

/// The last words of a training that then hangs in a collective.
pub(super) fn last_words_before_hang(rank: u32) -> Vec<String> {
    let mut lines = steps(rank, 1_200, 8);
    lines.push(format!("[rank{rank}] NCCL INFO AllReduce: opCount 4c1 sendbuff 0x7f2c count 25559081 datatype 7 op 0 root 0 comm 0x55d1 [nranks=4] stream 0x5611"));
    lines
}

fn text(lines: &str) -> Vec<String> {
    lines.lines().map(str::to_owned).collect()
}
