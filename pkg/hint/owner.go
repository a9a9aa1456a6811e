package hint

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
)

// A search reads the names of all files that all processes have open. So none follows
// another at once, nor an event: then there are probes to be made.
const (
	ownersPause = time.Second
	ownersDelay = 100 * time.Millisecond
)

// owners follows the processes that hold listening sockets, and calls ended when one of
// them is no more. The kernel keeps the socket itself until the last handshake that it
// has answered is over or given up, which on a busy server is always some time away:
// only then it tells of the socket's end.
//
// A process that may not be looked at (of another user, without CAP_SYS_PTRACE) or that
// came after the search is not followed: its end is heard of later.
type owners struct {
	sockets latest.Value[map[uint32]bool] // by inode
	ended   func()                        // called by owners' goroutines, several at a time
	pause   time.Duration                 // after a search, ownersPause
	delay   time.Duration                 // before one, ownersDelay
}

// owner is one process that is followed.
type owner struct {
	pid  int
	stop context.CancelFunc
}

func (o *owners) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sockets map[uint32]bool
	followed, over := map[int]*owner{}, make(chan *owner)
	search := time.NewTimer(0)
	search.Stop()
	defer search.Stop()
	last, due := time.Time{}, time.Time{} // the latest search, and the next one; zero: there is none
	for {
		pause := o.pause
		select {
		case <-ctx.Done():
			return
		case got := <-o.sockets:
			if maps.Equal(got, sockets) {
				continue
			}
			sockets = got
		case p := <-over: // who else has the sockets?
			p.stop()
			if followed[p.pid] == p { // else a search was faster
				delete(followed, p.pid)
			}
			pause *= 10 // or a server that forks for each connection would have us search all the time
		case <-search.C:
			last, due = time.Now(), time.Time{}
			o.search(ctx, &wg, sockets, followed, over)
			continue
		}
		next := time.Now().Add(max(o.delay, time.Until(last.Add(pause))))
		if due.IsZero() || next.Before(due) {
			due = next
			search.Reset(time.Until(due))
		}
	}
}

// search brings what is followed in line with who holds the sockets.
func (o *owners) search(ctx context.Context, wg *sync.WaitGroup, sockets map[uint32]bool, followed map[int]*owner, over chan<- *owner) {
	found := map[int]bool{}
	if len(sockets) > 0 {
		found = holders(sockets)
	}
	for pid, p := range followed {
		if !found[pid] {
			p.stop()
			delete(followed, pid)
		}
	}
	for pid := range found {
		if followed[pid] != nil {
			continue
		}
		fd, err := openPID(pid)
		if err != nil {
			continue // it ended just now: the socket's end tells
		}
		ctx, stop := context.WithCancel(ctx)
		p := &owner{pid, stop}
		followed[pid] = p
		wg.Go(func() {
			if !ended(ctx, fd) {
				return
			}
			o.ended()
			select {
			case over <- p:
			case <-ctx.Done():
			}
		})
	}
}

// holders are the processes that have one of the sockets open, as far as this one may
// see that.
func holders(sockets map[uint32]bool) map[int]bool {
	found := map[int]bool{}
	all, _ := os.ReadDir("/proc")
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", entry.Name(), "fd")
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			target, err := os.Readlink(filepath.Join(dir, f.Name()))
			if err != nil {
				continue
			}
			text, isSocket := strings.CutPrefix(target, "socket:[")
			if !isSocket {
				continue
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32)
			if err == nil && sockets[uint32(inode)] {
				found[pid] = true
				break
			}
		}
	}
	return found
}
