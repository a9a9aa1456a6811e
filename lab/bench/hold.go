package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/lab/feed"
)

// tally is one line of the client with established connections: how many there are to each server, then how many of
// them are left.
type tally struct {
	Servers map[string]int `json:"servers"`
}

func decodeTally(r io.Reader) iter.Seq2[tally, error] { return feed.Decode[tally](r, "hold") }

// echo is a server that tells its host's name to each client and then sends back what it is sent.
func echo(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("echo takes no arguments, not %q", args)
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", echoPort)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil // and the connections end with the process
		}
		if err != nil {
			return err
		}
		go func() {
			if _, err := io.WriteString(conn, name+"\n"); err == nil {
				_, _ = io.Copy(conn, conn)
			}
			_ = conn.Close()
		}()
	}
}

const echoPort = ":7"

// hold opens connections, keeps them, and after a line on standard input says which of them still work. Each has a
// port of its own that no connection had before: a server may still hold one that was moved away from it.
func hold(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("hold", flag.ContinueOnError)
	target := flags.String("target", "", "`ADDRESS` of the servers")
	count := flags.Int("count", 1, "number of connections")
	port := flags.Int("port", 20_000, "first local `PORT`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var conns []held
	for i := range *count {
		c, err := openHeld(*target+echoPort, *port+i)
		if err != nil {
			return err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	said := json.NewEncoder(os.Stdout)
	if err := said.Encode(perServer(conns)); err != nil {
		return err
	}
	if !bufio.NewScanner(os.Stdin).Scan() {
		return errors.New("nobody asked what is left")
	}
	return said.Encode(perServer(alive(conns)))
}

// held is a connection and the server at its end.
type held struct {
	net.Conn
	server string
}

// openHeld connects. The servers may have been started just now: a refusal is waited out.
func openHeld(address string, port int) (h held, err error) {
	deadline := time.Now().Add(5 * time.Second)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Deadline: deadline}
	conn, err := dialer.Dial("tcp", address)
	for errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		conn, err = dialer.Dial("tcp", address)
	}
	if err != nil {
		return h, err
	}
	_ = conn.SetReadDeadline(deadline)
	name, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		_ = conn.Close()
		return h, fmt.Errorf("the server's name: %w", err)
	}
	return held{Conn: conn, server: strings.TrimSpace(name)}, nil
}

// alive are the connections over which an answer comes within a second.
func alive(conns []held) (left []held) {
	deadline := time.Now().Add(time.Second)
	answered := make([]bool, len(conns))
	var asking sync.WaitGroup
	for i, c := range conns {
		asking.Go(func() {
			_ = c.SetDeadline(deadline)
			_, werr := c.Write([]byte{'x'})
			_, rerr := io.ReadFull(c, make([]byte, 1))
			answered[i] = werr == nil && rerr == nil
		})
	}
	asking.Wait()
	for i, c := range conns {
		if answered[i] {
			left = append(left, c)
		}
	}
	return left
}

func perServer(conns []held) tally {
	t := tally{Servers: map[string]int{}}
	for _, c := range conns {
		t.Servers[c.server]++
	}
	return t
}
