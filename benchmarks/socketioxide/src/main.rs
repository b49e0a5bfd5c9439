//! The peer in Rust: socketioxide on one thread, with the events of node/server.mjs.

use serde::{Deserialize, Serialize};
use socketioxide::{
    extract::{AckSender, Data, SocketRef},
    SocketIo,
};

#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    n: u32,
    id: String,
    role: String,
    content: String,
    chat_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    room: String,
    message: Message,
    ticks: u32,
    per_tick: u32,
}

#[derive(Serialize)]
struct Joined {
    ok: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args().nth(1).expect("a port");
    let (layer, io) = SocketIo::builder()
        .ping_interval(std::time::Duration::from_secs(300))
        .max_buffer_size(4096)
        .build_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("echo", async |Data::<u64>(number), ack: AckSender| {
            ack.send(&number).ok();
        });
        socket.on("join-chat", async |socket: SocketRef, Data::<String>(chat), ack: AckSender| {
            socket.join(format!("chat:{chat}"));
            ack.send(&Joined { ok: true }).ok();
        });
        socket.on("blast", async |socket: SocketRef, Data::<Order>(order)| {
            let mut message = order.message;
            for _ in 0..order.ticks {
                for _ in 0..order.per_tick {
                    socket.within(order.room.clone()).emit("new-msg", &message).await.ok();
                    message.n += 1;
                }
                tokio::task::yield_now().await;
            }
        });
    });
    let app = axum::Router::new().layer(layer);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("a free port");
    println!("ready");
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| stream.set_nodelay(true).unwrap_or(())), app)
        .await
        .expect("a server");
}
