package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	directoryMode fs.FileMode = 0o755
	socketMode    fs.FileMode = 0o660
	lockMode      fs.FileMode = 0o600 // nobody else may lock us out
	connectLimit              = time.Second
)

// socket is a unix socket that listens, and the lock that says it is ours. The
// lock stands beside the socket and lives as long as the process does, so that
// of two agents that start at once exactly one wins, and a dead one's socket
// can be told from one that is only slow to answer.
type socket struct {
	*net.UnixListener
	path string
	file os.FileInfo // of the socket as we made it
	lock *os.File
}

// listen takes path.
func listen(path string) (k *socket, err error) {
	if len(path) > maxSocket {
		return nil, fmt.Errorf("is longer than the %d bytes that a unix socket may have; choose another path", maxSocket)
	}
	if err := os.MkdirAll(filepath.Dir(path), directoryMode); err != nil {
		return nil, err
	}
	lock, err := takeLock(path + ".lock")
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, inUse(path)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dropLock(lock))
		}
	}()
	if err := clear(path); err != nil {
		return nil, err
	}
	l, err := bind(path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil { // what the umask took away
		return nil, errors.Join(err, l.Close(), os.Remove(path))
	}
	file, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socket{UnixListener: l, path: path, file: file, lock: lock}, nil
}

// giveTo makes a group the one of the file at path; without a name it stays.
func giveTo(path, group string) error {
	if group == "" {
		return nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Errorf("api.group: %w", err)
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	return os.Chown(path, -1, id)
}

// bind listens on path with no more than the right mode from the first moment:
// a socket file gets the mode of its descriptor, less the umask.
func bind(path string) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), uint32(socketMode)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // remove does it, and looks first
	return u, nil
}

// remove ends listening and removes what listen made, unless something else
// stands in its place by now.
func (k *socket) remove() error {
	err := k.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // by the gRPC server
	}
	if now, serr := os.Lstat(k.path); serr == nil && os.SameFile(now, k.file) {
		err = errors.Join(err, os.Remove(k.path))
	}
	return errors.Join(err, dropLock(k.lock))
}

// clear makes room at path: it removes a socket that nobody listens on. The
// caller holds the lock.
func clear(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is a file that is no socket (%s); remove it, or choose another path", info.Mode())
	}
	conn, err := net.DialTimeout("unix", path, connectLimit)
	switch {
	case err == nil:
		return errors.Join(inUse(path), conn.Close()) // by a program that does not know our lock
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("cannot see whether it is in use: %w", err)
}

// inUse says who has path.
func inUse(path string) error {
	conn, err := net.DialTimeout("unix", path, connectLimit)
	if err != nil {
		return fmt.Errorf("another agent is starting or stopping there: it holds %s.lock", path)
	}
	defer conn.Close()
	const advice = "stop it first, or give this one another --socket"
	if pid, err := listenerPID(conn.(*net.UnixConn)); err == nil {
		return fmt.Errorf("an agent answers there already (pid %d); %s", pid, advice)
	}
	return errors.New("an agent answers there already; " + advice)
}

// listenerPID is the process that listens at the other end of conn.
func listenerPID(conn *net.UnixConn) (int32, error) {
	cred, err := peerOf(conn)
	if err != nil {
		return 0, err
	}
	return cred.Pid, nil
}

// peerOf is who is at the other end of conn, or was when it was made.
func peerOf(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(cerr, err); err != nil {
		return nil, err
	}
	return cred, nil
}

// takeLock locks the file at path, made if missing. The error is EWOULDBLOCK
// when another process has it.
func takeLock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, lockMode)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(&fs.PathError{Op: "lock", Path: path, Err: err}, f.Close())
		}
		ours, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// Its last owner may have removed it between our open and our lock.
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, ours) {
			return f, nil
		}
		f.Close()
	}
}

// dropLock removes the lock file while it is locked, so that who opens it
// later opens another.
func dropLock(f *os.File) error { return errors.Join(os.Remove(f.Name()), f.Close()) }
