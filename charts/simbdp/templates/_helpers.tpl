{{/* Name of the operator's objects. The ClusterRoles have fixed names: the operator binds one by name. */}}
{{- define "simbdp.name" -}}simbdp-operator{{- end -}}

{{- define "simbdp.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "simbdp.selector" -}}
app.kubernetes.io/name: simbdp
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "simbdp.labels" -}}
{{ include "simbdp.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: simbdp
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
