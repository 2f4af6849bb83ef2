{{/* A Service of {root, name, component, store?, ports, type?, annotations?, watched?, always?, sticky?, nodePort?}. */}}
{{- define "roadvault.service" }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "roadvault.fullname" .root }}-{{ .name }}
  labels:
    {{- include "roadvault.labels" . | nindent 4 }}
    {{- if .watched }}
    roadvault/watched: "true"
    {{- end }}
  {{- with .annotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- if .watched }}
  clusterIP: None
  {{- else }}
  type: {{ .type | default "ClusterIP" }}
  {{- if has .type (list "LoadBalancer" "NodePort") }}
  # The addresses of clients are seen as they are: some bounds are for each of them.
  externalTrafficPolicy: Local
  {{- end }}
  {{- end }}
  {{- if or .watched .always }}
  publishNotReadyAddresses: true
  {{- end }}
  {{- if .sticky }}
  sessionAffinity: ClientIP
  {{- end }}
  selector: {{ include "roadvault.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $name }}
      {{- if hasSuffix "-udp" $name }}
      protocol: UDP
      {{- end }}
      {{- if $.nodePort }}
      nodePort: {{ $.nodePort }}
      {{- end }}
    {{- end }}
{{- end }}

{{/* Names of our own servers, where no callback goes. */}}
{{- define "roadvault.own" -}}
{{- $fullname := include "roadvault.fullname" . -}}
{{- $names := list "door" "ingest" "crust-orderer-watch" "notifier-watch" -}}
{{- if .Values.witness.enabled }}{{ $names = append $names "witness" }}{{ end -}}
{{- range .Values.stores -}}
{{- $names = concat $names (list (printf "door-%s" .name) (printf "ingest-%s" .name) (printf "stream-%s" .name) (printf "store-%s" .name) (printf "door-%s-watch" .name)) -}}
{{- end -}}
{{- range $i, $name := $names }}{{ if $i }},{{ end }}{{ $fullname }}-{{ $name }}{{ end -}}
{{- end }}
