package vrrp

import (
	"container/heap"
	"time"
)

// earlier is the first of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// deadlines are routers by when they are to be looked at, the next first.
type deadlines []*router

func (d deadlines) first() time.Time {
	if len(d) == 0 {
		return time.Time{}
	}
	return d[0].next
}

// set moves a router to its time; zero takes it out.
func (d *deadlines) set(r *router, at time.Time) {
	switch {
	case at.IsZero():
		if r.index >= 0 {
			heap.Remove(d, r.index)
		}
	case r.index >= 0:
		r.next = at
		heap.Fix(d, r.index)
	default:
		r.next = at
		heap.Push(d, r)
	}
}

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].next.Before(d[j].next) }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i]; d[i].index, d[j].index = i, j }

// Push is heap.Interface's.
func (d *deadlines) Push(x any) {
	r := x.(*router)
	r.index = len(*d)
	*d = append(*d, r)
}

// Pop is heap.Interface's.
func (d *deadlines) Pop() any {
	r := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	r.index = -1
	return r
}
