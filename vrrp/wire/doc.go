// Package wire is where virtual routers meet the network: it receives what the links
// of this host have for them, sends advertisements, and tells neighbours who has an
// address. It implements vrrp.Conn.
//
// It owns sockets and the format of frames, and must not know what an advertisement
// means. Packets are read below the IP layer: this host's own firewall cannot come
// between two routers and make both Active. They are sent above it, where it can.
//
// Conn's methods but Wake are called from one goroutine, and none starts another.
package wire
