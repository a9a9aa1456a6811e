// Package web serves HTTP: /metrics, /healthz and /readyz, and a short index.
// The page for people comes later.
//
// It reads the Snapshot and the alive gate and owns nothing but its listener.
// It must not know how a metric is made, nor change anything: every request is
// a read.
package web
