//! Whose process is at the other end of a connection within this machine. A reverse proxy here makes everybody look as
//! if they sat here, and need not say in any header that it is one; but it runs as a service account.

use std::net::{IpAddr, SocketAddr};

/// User ids of services, by custom of all Linux distributions; people begin at 1,000, and 0 owns the machine.
const SERVICES: std::ops::RangeInclusive<u32> = 1..=999;

/// The user id of the service that `peer`, an address of this machine, belongs to: not of a person, of root, or of
/// nightbell's own user. `None` also where the system does not tell.
pub(super) fn service(peer: SocketAddr) -> Option<u32> {
    // A listener for both families sees IPv4 peers as mapped addresses; the peer's own socket is of IPv4.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let table = match peer.ip() {
        IpAddr::V4(_) => "/proc/net/tcp",
        IpAddr::V6(_) => "/proc/net/tcp6",
    };
    let owner = owner(&std::fs::read_to_string(table).ok()?, peer)?;
    (SERVICES.contains(&owner) && Some(owner) != own()).then_some(owner)
}

/// Our own user.
fn own() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The owner of the socket at `address`, from the kernel's table of connections (`proc(5)`).
fn owner(table: &str, address: SocketAddr) -> Option<u32> {
    let wanted = hex(address);
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        // Number, local address, remote address, state, queues, timer, retransmissions, owner.
        let local = fields.nth(1)?;
        (local == wanted).then(|| fields.nth(5)?.parse().ok())?
    })
}

/// An address as the kernel writes it: each 32 bits as a number of this machine, then the port.
fn hex(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = [word[0], word[1], word[2], word[3]];
        format!("{:08X}", u32::from_ne_bytes(word))
    });
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F40 0100007F:C350 01 00000000:00000000 00:00000000 00000000   990        0 2 1 0 20 4 30 10 -1
   2: 0100007F:C350 0100007F:1F40 01 00000000:00000000 00:00000000 00000000    33        0 3 1 0 20 4 30 10 -1
";

    #[test]
    fn the_owner_of_the_other_end_is_read_from_the_table_of_connections() {
        let at = |text: &str| text.parse().expect(text);
        assert_eq!(owner(TABLE, at("127.0.0.1:50000")), Some(33));
        assert_eq!(owner(TABLE, at("127.0.0.1:50001")), None);
        assert_eq!(
            hex(at("[::1]:8000")),
            "00000000000000000000000001000000:1F40"
        );
    }

    #[tokio::test]
    async fn a_connection_of_our_own_is_of_no_service() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (_server, peer) = listener.accept().await.unwrap();
        assert_eq!(service(peer), None);
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        assert_eq!(owner(&table, client.local_addr().unwrap()), own());
    }
}
