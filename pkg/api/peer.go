package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"
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
}

// AuthType implements credentials.AuthInfo.
func (caller) AuthType() string { return "unix" }

// ServerHandshake asks the kernel.
func (p peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("api: a connection that is no unix socket: %T", c)
	}
	cred, err := peerOf(u)
	if err != nil {
		return nil, nil, fmt.Errorf("api: who connects: %w", err)
	}
	return c, caller{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, uid: cred.Uid}, nil
}

// Clone implements credentials.TransportCredentials.
func (p peerCredentials) Clone() credentials.TransportCredentials {
	return peerCredentials{p.TransportCredentials.Clone()}
}

// Actor is who calls.
type Actor struct {
	Name     string // the user, or "uid N" where it has no name here
	Operator bool   // may drain and probe
}

func (a Actor) String() string { return a.Name }

// actorOf asks the connection who calls.
func (c *control) actorOf(ctx context.Context) Actor {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Actor{Name: "unknown"}
	}
	who, ok := p.AuthInfo.(caller)
	if !ok {
		return Actor{Name: "unknown"}
	}
	id := strconv.FormatUint(uint64(who.uid), 10)
	a := Actor{Name: "uid " + id}
	if u, err := user.LookupId(id); err == nil {
		a.Name = u.Username
	}
	a.Operator = who.uid == 0 || int(who.uid) == os.Getuid() || slices.Contains(c.operators, a.Name)
	return a
}

// operator is who calls, or an error unless that is one.
func (c *control) operator(ctx context.Context) (Actor, error) {
	a := c.actorOf(ctx)
	if !a.Operator {
		return a, grpcstatus.Errorf(codes.PermissionDenied, "user %s may look, but not change anything; root may, and whoever api.operators names", a)
	}
	return a, nil
}
