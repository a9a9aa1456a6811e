// Package latest hands a value over of which only the latest counts, such as a whole
// desired set: from any goroutine, to one that takes it when it can.
//
// It must not know what is handed over.
package latest

// Value is such a value on its way. Make makes one; who takes it receives from it.
type Value[T any] chan T

// Make makes a Value with nothing in it.
func Make[T any]() Value[T] { return make(Value[T], 1) }

// Put puts x in place of what nobody has taken yet. It does not block, and any
// goroutine may call it.
func (v Value[T]) Put(x T) {
	for {
		select {
		case v <- x:
			return
		default:
		}
		select { // make room: what nobody took is out of date
		case <-v:
		default:
		}
	}
}
