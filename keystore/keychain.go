package keystore

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// KeychainConfig says how a Keychain reaches the keychain of the operating system.
type KeychainConfig struct {
	// Command is the argv of a program that calls [RunRole] and nothing else, so of this program in its keychain role.
	Command []string
	env     []string // environment of the child: the session bus, the display of the unlock dialog; nil: this process's own
	Service string   // the namespace of all items, at most 64 ASCII characters; "": "valetkey"

	deadline       time.Duration // of one call to the keychain; 0: 10 s
	unlockDeadline time.Duration // of one call during which the keychain asks the person; 0: 2 min, as long as a consent question
}

// Keychain is a Store in the keychain of the operating system: Secret Service on Linux, Keychain on macOS, Credential
// Manager on Windows.
//
// Calls are served one at a time. One Get, Set or Delete ends at the latest after Deadline + UnlockDeadline, or after
// Deadline under [Quiet], the wait for its turn included. When the keychain is locked it asks the person to unlock it,
// once: if they do not, the calls that were already waiting fail with ErrLocked and do not ask again.
//
// Its failures are ErrNotFound, an *[Error] or the error of ctx.
type Keychain struct {
	cfg   KeychainConfig
	limit int // bytes in one item
	// run makes one keychain call in a child process. It fails when there was no answer.
	run func(ctx context.Context, req request) (answer, error)

	turn    chan struct{} // holds one token: who has it may call the keychain, and use what stands below
	refused time.Time     // when the person last left the keychain locked
	known   map[string]known
}

// NewKeychain returns a Keychain. It does not call it: see [Keychain.Probe].
func NewKeychain(cfg KeychainConfig) *Keychain {
	if cfg.Service == "" {
		cfg.Service = "valetkey"
	}
	if cfg.deadline == 0 {
		cfg.deadline = 10 * time.Second
	}
	if cfg.unlockDeadline == 0 {
		cfg.unlockDeadline = 2 * time.Minute
	}
	k := &Keychain{cfg: cfg, limit: itemLimit, turn: make(chan struct{}, 1), known: make(map[string]known)}
	k.run = k.spawn
	k.turn <- struct{}{}
	return k
}

// known is what this process saw last of a name. With it a Set writes at once: the shorter the way of a new refresh
// token to the keychain, the less a crash can cost.
type known struct {
	head head // without its Value
	tidy bool // there are no pieces but those the head names
}

// learn remembers the head of name. Who calls it has the turn.
func (k *Keychain) learn(name string, h head, tidy bool) {
	h.Value = nil
	k.known[name] = known{h, tidy}
}

type quietKey struct{}

// Quiet marks calls that must not make the keychain ask the person for anything, such as those of a timer: a locked
// keychain is then ErrLocked at once. On macOS the keychain cannot be told; there a Quiet call is only given less time.
func Quiet(ctx context.Context) context.Context { return context.WithValue(ctx, quietKey{}, true) }

// Probe tells without disturbing the person whether the keychain can be used: nil, ErrLocked, ErrUnavailable or
// ErrTimeout, as an *[Error]. It does not wait for other calls, and may start a keychain that the system starts on demand.
func (k *Keychain) Probe(ctx context.Context) error {
	c := call{Keychain: k, ctx: ctx, caller: ctx, quiet: true}
	_, err := c.try(request{Op: opProbe}, k.cfg.deadline)
	return err
}

// Get implements Store.
func (k *Keychain) Get(ctx context.Context, name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	c, end, err := k.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	h, err := c.head(name)
	if err != nil {
		delete(k.known, name)
		return nil, err
	}
	if last, ok := k.known[name]; !ok || h.SHA256 != last.head.SHA256 || h.Generation != last.head.Generation {
		k.learn(name, h, false)
	}
	if h.Generation == 0 {
		return append([]byte{}, h.Value...), nil
	}
	return c.join(name, h)
}

// Set implements Store.
func (k *Keychain) Set(ctx context.Context, name string, value []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := checkValue(value); err != nil {
		return err
	}
	c, end, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer end()

	last, ok := k.known[name]
	if !ok {
		if last.head, err = c.head(name); err != nil && !errors.Is(err, ErrNotFound) && err != errDamaged {
			return err
		}
	}
	h, pieces, err := split(value, k.limit, otherGeneration(last.head.Generation))
	if err != nil {
		return err
	}
	delete(k.known, name)
	for i, piece := range pieces {
		if err := c.write(pieceName(name, h.Generation, i), piece); err != nil {
			return err
		}
	}
	if err := c.write(name, h.encode()); err != nil {
		return err
	}
	// From here on Get returns the new value, so this Set has succeeded. What cannot be removed now, the next Set of this
	// name removes.
	k.learn(name, h, c.removeOthers(name, last.head, h, last.tidy) == nil)
	return nil
}

// Delete implements Store. It removes the head first: a Delete that fails leaves the value whole or gone.
func (k *Keychain) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	c, end, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	old, err := c.head(name)
	if err != nil && !errors.Is(err, ErrNotFound) && err != errDamaged {
		return err
	}
	tidy := k.known[name].tidy && err == nil
	delete(k.known, name)
	if !errors.Is(err, ErrNotFound) {
		if err := c.remove(name); err != nil {
			return err
		}
	}
	return c.removeOthers(name, old, head{}, tidy)
}

// begin waits for the turn and returns the call that has it, and what ends that call.
func (k *Keychain) begin(caller context.Context) (*call, func(), error) {
	c := &call{Keychain: k, caller: caller, began: time.Now()}
	c.quiet, _ = caller.Value(quietKey{}).(bool)
	budget := k.cfg.deadline
	if !c.quiet {
		budget += k.cfg.unlockDeadline
	}
	ctx, cancel := context.WithTimeout(caller, budget)
	c.ctx = ctx
	if err := caller.Err(); err != nil { // select would not prefer it to a free turn
		cancel()
		return nil, nil, fmt.Errorf("waiting for the keychain: %w", err)
	}
	select {
	case <-k.turn:
		return c, func() { cancel(); k.turn <- struct{}{} }, nil
	case <-ctx.Done():
		cancel()
		if err := caller.Err(); err != nil {
			return nil, nil, fmt.Errorf("waiting for the keychain: %w", err)
		}
		return nil, nil, &Error{kind: ErrTimeout, reason: fmt.Sprintf("the keychain was busy with earlier calls for %v", budget)}
	}
}
