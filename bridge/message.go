package bridge

import (
	"errors"
	"strconv"
)

// Error codes. The bridge's own stay outside -32099…-32000, which JSON-RPC and MCP give out.
const (
	codeParse       = -32700
	codeInvalid     = -32600
	codeNoMethod    = -32601
	codeParams      = -32602
	codeFailed      = -31503 // whatever went wrong on the way; the gateway's are -31000 less an HTTP status
	codeMismatch    = -32020 // HeaderMismatch
	codeCapability  = -32021 // MissingRequiredClientCapability
	codeUnsupported = -32022 // UnsupportedProtocolVersion
)

// Methods the bridge must know.
const (
	methodInitialize   = "initialize"
	methodDiscover     = "server/discover"
	methodPing         = "ping"
	methodToolsList    = "tools/list"
	methodToolsCall    = "tools/call"
	methodPromptsGet   = "prompts/get"
	methodResourceRead = "resources/read"
	methodSubscribe    = "resources/subscribe"
	methodUnsubscribe  = "resources/unsubscribe"
	methodSetLevel     = "logging/setLevel"
	methodListen       = "subscriptions/listen"

	noteInitialized  = "notifications/initialized"
	noteCancelled    = "notifications/cancelled"
	noteAcknowledged = "notifications/subscriptions/acknowledged"
)

// Members of _meta (MCP 2026-07-28, base protocol).
const (
	metaPrefix       = "io.modelcontextprotocol/"
	metaVersion      = metaPrefix + "protocolVersion"
	metaClientInfo   = metaPrefix + "clientInfo"
	metaCapabilities = metaPrefix + "clientCapabilities"
	metaServerInfo   = metaPrefix + "serverInfo"
	metaLogLevel     = metaPrefix + "logLevel"
	metaSubscription = metaPrefix + "subscriptionId"
)

// modernVersion is the first version without sessions. Versions are dates, and compare as text.
const modernVersion = "2026-07-28"

var errNotRPC = errors.New("not JSON-RPC")

// message is one JSON-RPC message: the whole on one line, and the parts the bridge looks at.
type message struct {
	raw                   []byte
	method                string
	id                    []byte // nil: none
	params, result, fault []byte
}

func (m message) isRequest() bool  { return m.method != "" && m.id != nil }
func (m message) isResponse() bool { return m.method == "" && (m.result != nil || m.fault != nil) }

func (m message) isNothing() bool { return m.method == "" && !m.isResponse() }

// key is what two ids have in common that are the same id.
func (m message) key() string { return idKey(m.id) }

// idKey makes 1 and 1.0 the same id, and "a" and "\u0061", but not 1 and "1".
func idKey(id []byte) string {
	if len(id) > 0 && id[0] == '"' {
		return `"` + str(id)
	}
	if f, err := strconv.ParseFloat(string(id), 64); err == nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return string(id)
}

// version is the modern version a request names in its _meta; "" for requests of older hosts.
func (m message) version() string {
	if v := text(m.params, "_meta", metaVersion); v >= modernVersion {
		return v
	}
	return ""
}

// code is the code of an error response; 0 for any other message.
func (m message) code() int {
	n, _ := strconv.Atoi(string(get(m.fault, "code")))
	return n
}

// withID returns a copy of m under another id; m itself if that is its own.
func (m message) withID(id []byte) message {
	if m.id != nil && m.key() == idKey(id) {
		return m
	}
	m.raw, m.id = set(m.raw, id, "id"), id
	return m
}

// parse cuts up a message, or the messages of a batch (2025-03-26 had those). What in a batch is no message comes as one
// that is nothing.
func parse(raw []byte) (messages []message, batched bool, err error) {
	raw, err = oneLine(raw)
	if err != nil {
		return nil, false, err
	}
	if raw[0] != '[' {
		m, err := parseOne(raw)
		return []message{m}, false, err
	}
	for element := range elements(raw) {
		m, err := parseOne(element)
		if err != nil {
			m = message{raw: element}
		}
		messages = append(messages, m)
	}
	if messages == nil {
		return nil, true, errNotRPC
	}
	return messages, true, nil
}

func parseOne(raw []byte) (message, error) {
	m := message{raw: raw}
	if !isObject(raw) {
		return m, errNotRPC
	}
	for f := range members(raw) {
		value := raw[f.from:f.to:f.to]
		switch string(f.key) {
		case "method":
			m.method = str(value)
		case "id":
			if m.id = value; string(value) == "null" {
				m.id = nil
			}
		case "params":
			m.params = value
		case "result":
			m.result = value
		case "error":
			if m.fault = value; string(value) == "null" {
				m.fault = nil
			}
		}
	}
	switch {
	case m.id != nil && m.id[0] != '"' && m.id[0] != '-' && (m.id[0] < '0' || m.id[0] > '9'):
		m.id = nil
		return m, errNotRPC
	case m.method == "" && m.id == nil && m.fault == nil:
		return m, errNotRPC
	}
	return m, nil
}

// newRequest makes a request of the bridge's own.
func newRequest(id []byte, method string, params []byte) message {
	raw := object("jsonrpc", "2.0", "id", id, "method", method, "params", params)
	return message{raw: raw, method: method, id: id, params: get(raw, "params")}
}

// newNotification makes a notification of the bridge's own.
func newNotification(method string, params []byte) message {
	return message{raw: object("jsonrpc", "2.0", "method", method, "params", params), method: method, params: params}
}

// newResult makes the response to the request with an id.
func newResult(id, result []byte) message {
	return message{raw: object("jsonrpc", "2.0", "id", id, "result", result), id: id, result: result}
}

// newError makes the error response to the request with an id; nil is an id that could not be read.
func newError(id []byte, code int, sentence string) message {
	fault := object("code", code, "message", sentence)
	if id == nil {
		id = []byte("null")
	}
	return message{raw: object("jsonrpc", "2.0", "id", id, "error", fault), id: id, fault: fault}
}
