package api

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// peerCredentials are those of a unix socket: nothing is encrypted, and the kernel
// says who is at the other end.
type peerCredentials struct {
	credentials.TransportCredentials
}

// caller is who is at the other end of a connection.
type caller struct {
	credentials.CommonAuthInfo
	uid uint32
	pid int32
}

// AuthType implements credentials.AuthInfo.
func (caller) AuthType() string { return "unix" }

// ServerHandshake asks the kernel.
func (p peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("api: a connection that is no unix socket: %T", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var cred *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, nil, err
	}
	if asked != nil {
		return nil, nil, fmt.Errorf("api: who connects: %w", asked)
	}
	return c, caller{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, uid: cred.Uid, pid: cred.Pid}, nil
}

// Clone implements credentials.TransportCredentials.
func (p peerCredentials) Clone() credentials.TransportCredentials {
	return peerCredentials{p.TransportCredentials.Clone()}
}

// actorOf names who calls: the user, or its number where it has no name here.
func actorOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "unknown"
	}
	c, ok := p.AuthInfo.(caller)
	if !ok {
		return "unknown"
	}
	id := strconv.FormatUint(uint64(c.uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// oneLine makes an operator's words fit for logs and terminals.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text(s)))
}
