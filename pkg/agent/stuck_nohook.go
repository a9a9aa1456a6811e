//go:build !anyvip_testhook

package agent

// hangIfAsked does nothing in what users run; see stuck_hook.go.
func hangIfAsked() {}
