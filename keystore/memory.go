package keystore

import (
	"context"
	"sync"
)

// Memory is a Store that forgets everything when the process ends.
type Memory struct {
	mu sync.Mutex
	// Each value stands behind a pointer to a string because fmt prints that, when nested, as an address under every verb
	// (but not a pointer to a slice): a Memory that is printed by accident shows names only.
	values map[string]*string
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{values: make(map[string]*string)} }

// Get implements Store.
func (m *Memory) Get(ctx context.Context, name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[name]
	if !ok {
		return nil, ErrNotFound
	}
	return []byte(*value), nil
}

// Set implements Store.
func (m *Memory) Set(ctx context.Context, name string, value []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := checkValue(value); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	kept := string(value)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[name] = &kept
	return nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, name)
	return nil
}
